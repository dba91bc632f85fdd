//go:build !linux

package data

func adviseHugePages([]byte) {}
