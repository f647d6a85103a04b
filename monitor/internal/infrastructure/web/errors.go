package web

import "errors"

// ErrConfig is returned by New for a configuration that cannot work.
var ErrConfig = errors.New("web: bad configuration")

// ErrUnavailable is returned where something is asked for that this server was
// not given.
var ErrUnavailable = errors.New("web: not available")
