// Package config reads the two files that people write for sluice: the site
// file, and the package file .sluice.yaml.
package config

import "time"

// Name is "RELEASE/DIST", as in juno/el-9.
func (t Target) Name() string { return t.Release + "/" + t.Dist }

// Supported reports whether the target counts at the given time.
func (t Target) Supported(now time.Time) bool {
	return t.Disabled == nil || !now.Before(t.Disabled.Until.Time)
}

// Warning is something that works and should not stay so.
type Warning struct {
	Pos     Pos
	Message string
}

// Pos is a place in a file; lines and columns count from 1.
type Pos struct {
	File         string
	Line, Column int
}

type source struct{}
