package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// newHTTPClient returns a client that soon gives up on a network that does not answer. So a machine
// without the internet turns to Debian's package in seconds.
func newHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 4 * time.Second}).DialContext, // name lookup included
		TLSHandshakeTimeout:    8 * time.Second,
		ResponseHeaderTimeout:  15 * time.Second,
		OnProxyConnectResponse: checkProxy,
		DisableCompression:     true, // the files are compressed, and ranges count their own bytes
	}}
}

// proxyError is the refusal of a proxy to make a connection.
type proxyError struct{ status string }

func (e *proxyError) Error() string { return "the proxy answers " + e.status }

func checkProxy(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return &proxyError{resp.Status}
	}
	return nil
}

// newRetryClient returns a client that repeats a request after a temporary failure.
func newRetryClient(c *http.Client) *retryablehttp.Client {
	const longest = 5 * time.Second
	return &retryablehttp.Client{
		HTTPClient:   c,
		RetryMax:     2,
		RetryWaitMin: 500 * time.Millisecond,
		RetryWaitMax: longest,
		CheckRetry:   mayPass,
		// A server may ask for hours by Retry-After; other mirrors are faster.
		Backoff: func(lo, hi time.Duration, attempt int, resp *http.Response) time.Duration {
			return min(retryablehttp.DefaultBackoff(lo, hi, attempt, resp), longest)
		},
		ErrorHandler: retryablehttp.PassthroughErrorHandler, // returns the response and its status
	}
}

// mayPass reports whether to repeat a failed request. It is false if no connection was made, or if
// the wait for an answer timed out.
func mayPass(ctx context.Context, resp *http.Response, err error) (bool, error) {
	var dns *net.DNSError
	var op *net.OpError
	var proxy *proxyError
	var wait net.Error
	switch {
	case errors.As(err, &dns), errors.As(err, &proxy),
		errors.As(err, &op) && op.Op != "read" && op.Op != "write",
		errors.As(err, &wait) && wait.Timeout():
		return false, nil
	}
	return retryablehttp.DefaultRetryPolicy(ctx, resp, err)
}

// reason returns err without the URL, which is long and begins with the mirror's name.
func reason(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	var op *net.OpError
	var dns *net.DNSError
	if errors.As(err, &dns) && errors.As(err, &op) && op.Op == "dial" { // not the lookup of a proxy
		return fmt.Errorf("name lookup: %s", dns.Err)
	}
	return err
}
