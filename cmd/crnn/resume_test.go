//go:build unix

package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start starts a process, and waits until its run has made a step.
func (p process) start(t *testing.T, out string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	cmd := p.command(t, ctx)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	for {
		metrics, _ := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
		if bytes.Count(metrics, []byte("\n")) > 0 {
			return cmd, &stderr
		}
		if ctx.Err() != nil {
			t.Fatalf("no step\n%s", &stderr)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// An interrupted run keeps its results and says how to continue. Resumed, it comes to the same bits
// as an uninterrupted one.
func TestInterruptAndResume(t *testing.T) {
	work, dataDir := t.TempDir(), smallData(t)
	whole := filepath.Join(work, "whole")
	crnn(t, small(dataDir, whole, "--epochs", "4")...)
	want := outcomeOf(t, whole)

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			cmd, stderr := process{args: small(dataDir, out, "--epochs", "4")}.start(t, out)
			for range 2 { // as the command timeout does
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond) // or the two signals merge
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Fatalf("exit code %d, want 130\n%s", code, stderr)
			}
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			last := lines[len(lines)-1]
			if !regexp.MustCompile("^crnn: interrupted after step \\d+: `crnn train --resume " + regexp.QuoteMeta(out) +
				"` goes on from there$").MatchString(last) {
				t.Errorf("last line: %s", last)
			}
			if !bytes.Equal(read(t, filepath.Join(out, "samples.png")), read(t, filepath.Join(whole, "samples.png"))) {
				t.Error("samples.png differs from that of a whole run")
			}
			crnn(t, "train", "--resume", out)
			same(t, "resumed", outcomeOf(t, out), want)
		})
	}
}

// waitForReplacement waits until another file is at path than now.
func waitForReplacement(t *testing.T, ctx context.Context, path string) {
	t.Helper()
	before, _ := os.Stat(path) // nil: none
	for ctx.Err() == nil {
		now, err := os.Stat(path)
		if err == nil && (before == nil || !os.SameFile(before, now) || !before.ModTime().Equal(now.ModTime())) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("no new %s", path)
}

// A run that is killed repeatedly, at any instant, comes to the same bits as an uninterrupted one.
func TestKillAndResume(t *testing.T) {
	work, dataDir := t.TempDir(), smallData(t)
	whole, out := filepath.Join(work, "whole"), filepath.Join(work, "run")
	const epochs = "8"
	crnn(t, small(dataDir, whole, "--epochs", epochs)...)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	checkpoint := filepath.Join(out, "checkpoint")
	kills, killsInRun := 0, 0 // killsInRun: after a checkpoint of the killed process
	for try := 0; ; try++ {
		args := []string{"train", "--resume", out}
		if _, err := os.Stat(checkpoint); err != nil {
			args = small(dataDir, out, "--epochs", epochs) // killed before there was anything to keep
		}
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		cmd := process{args: args}.command(t, ctx)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		// First kill it before the run begins or in its first epochs, then three times around the
		// end of an epoch, and then anywhere. Later tries live longer, so that one finishes in the
		// end, however slow the machine is.
		life := time.Duration(random.Int64N(int64(600+100*try))) * time.Millisecond
		inRun := 0
		if 1 <= try && try <= 3 {
			waitForReplacement(t, ctx, checkpoint)
			life, inRun = time.Duration(random.Int64N(30))*time.Millisecond, 1
		}
		var err error
		select {
		case err = <-ended:
		case <-time.After(life):
			cmd.Process.Kill()
			err = <-ended
		}
		cancel()
		if err == nil {
			break
		}
		if cmd.ProcessState.ExitCode() != -1 { // -1: by a signal
			t.Fatalf("after %d kills: %v\n%s", kills, err, &stderr)
		}
		kills++
		killsInRun += inRun
	}
	t.Logf("%d kills, %d of them after an epoch", kills, killsInRun)
	if kills < 3 || killsInRun == 0 {
		t.Errorf("%d kills, %d of them after an epoch: too few to show anything", kills, killsInRun)
	}
	same(t, "killed and resumed", outcomeOf(t, out), outcomeOf(t, whole))
}

// A finished run says so. With more epochs it continues, as if it had had them from the start.
func TestResumeFinished(t *testing.T) {
	work, dataDir := t.TempDir(), smallData(t)
	out, longer := filepath.Join(work, "run"), filepath.Join(work, "longer")
	crnn(t, small(dataDir, out, "--epochs", "1")...)
	before := outcomeOf(t, out)
	r := process{args: []string{"train", "--resume", out}}.run(t)
	if r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, out+" is finished: test accuracy ") {
		t.Errorf("exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	same(t, "resumed when finished", outcomeOf(t, out), before)

	crnn(t, "train", "--resume", out, "--epochs", "2", "--threads", "1")
	crnn(t, small(dataDir, longer, "--epochs", "2")...)
	same(t, "made longer", outcomeOf(t, out), outcomeOf(t, longer))
}

// A resume that is refused leaves the run as it was.
func TestRefusedResumeChangesNothing(t *testing.T) {
	work, dataDir := t.TempDir(), smallData(t)
	out, cosine := filepath.Join(work, "run"), filepath.Join(work, "cosine")
	crnn(t, small(dataDir, out, "--epochs", "1")...)
	crnn(t, small(dataDir, cosine, "--epochs", "1", "--lr-schedule", "cosine")...)
	files := func(run string) map[string]string {
		all := map[string]string{}
		entries, err := os.ReadDir(run)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all[e.Name()] = string(read(t, filepath.Join(run, e.Name())))
		}
		return all
	}
	unchanged := func(run string, code int, want string, args ...string) {
		t.Helper()
		before := files(run)
		lastLineNames(t, code, want, append([]string{"train", "--resume", run}, args...)...)
		for name, content := range files(run) {
			if before[name] != content {
				t.Errorf("%s: %s changed", want, name)
			}
		}
	}
	unchanged(out, 1, "/does/not/exist", "--epochs", "2", "--data", "/does/not/exist")
	unchanged(out, 1, "--device cuda", "--epochs", "2", "--device", "cuda")
	unchanged(cosine, 2, "--epochs 2: must stay 1: the cosine schedule", "--epochs", "2")

	// A variable does not make a run longer.
	r := process{args: []string{"train", "--resume", out}, env: []string{"CRNN_EPOCHS=3"}}.run(t)
	if r.code != 0 || !strings.Contains(r.stderr, out+" is finished") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}

	// Damaged metrics: the offered remedy works.
	metrics := filepath.Join(out, "metrics.jsonl")
	write(t, metrics, append([]byte("damaged\n"), read(t, metrics)...))
	unchanged(out, 1, "mv "+metrics+" "+metrics+".damaged` and resume again", "--epochs", "2")
	if err := os.Rename(metrics, metrics+".damaged"); err != nil {
		t.Fatal(err)
	}
	crnn(t, "train", "--resume", out, "--epochs", "2")
	if epochs := events(t, out, "epoch"); len(epochs) != 1 || epochs[0]["epoch"] != 2.0 {
		t.Errorf("metrics %v, want those of the second epoch", epochs)
	}
}

// Two runs cannot use the same directory, neither at the same time nor one after the other.
func TestOneRunADirectory(t *testing.T) {
	dataDir := smallData(t)
	out := filepath.Join(t.TempDir(), "run")
	cmd, _ := process{args: small(dataDir, out, "--epochs", "1000")}.start(t, out)
	for _, args := range [][]string{small(dataDir, out), {"train", "--resume", out}} {
		r := process{args: args}.run(t)
		if r.code != 1 || !strings.Contains(r.stderr, "crnn: ") || !strings.Contains(r.stderr, "another run is using "+out) {
			t.Errorf("crnn %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.stderr)
		}
	}
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	r := process{args: small(dataDir, out)}.run(t)
	if r.code != 1 || !strings.Contains(r.stderr, out+" holds a run already") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

// A cut or changed checkpoint is refused, and the error offers the previous one.
func TestDamagedCheckpoint(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	crnn(t, small(smallData(t), out, "--epochs", "2")...)
	path := filepath.Join(out, "checkpoint")
	whole := read(t, path)
	changed := bytes.Clone(whole)
	changed[len(changed)/2] ^= 1
	for _, content := range [][]byte{{}, whole[:20], whole[:len(whole)-1], changed, append(bytes.Clone(whole), 0)} {
		write(t, path, content)
		process{args: []string{"train", "--resume", out}}.refused(t, 1, path+": the checkpoint is damaged")
		process{args: []string{"train", "--resume", out}}.refused(t, 1, "mv "+path+".previous "+path)
	}
	// The offer works.
	if err := os.Rename(path+".previous", path); err != nil {
		t.Fatal(err)
	}
	crnn(t, "train", "--resume", out)
}
