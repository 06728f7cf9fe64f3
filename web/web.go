// Package web holds the looks of the pages: templates, one style sheet, a little script. Nothing in
// it is fetched from elsewhere. internal/httpapi fills it in.
package web

import "embed"

// Files holds templates/*.html and static/*.
//
//go:embed templates/*.html static/*
var Files embed.FS
