// Command picture takes a picture of a page of a running service in a real
// browser: the README's is made with it, from the demo.
//
//	go run ./web/webtest/picture [-wait TEXT] [-width N] [-height N] [-dark] ADDRESS FILE.png
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"sluice/web/webtest"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run() error {
	wait := flag.String("wait", "", "text that the page has to show first")
	width := flag.Int("width", 1280, "of the window, in pixels")
	height := flag.Int("height", 900, "of the window, in pixels")
	dark := flag.Bool("dark", false, "as people see it who like it dark")
	flag.Parse()
	if flag.NArg() != 2 {
		return fmt.Errorf("an address and a file are wanted")
	}
	dir, err := os.MkdirTemp("", "sluice-picture-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	browser, err := webtest.StartBrowser(dir)
	if err != nil {
		return err
	}
	defer browser.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tab, err := browser.Open(ctx, flag.Arg(0), webtest.Look{Width: *width, Height: *height, Dark: *dark})
	if err != nil {
		return err
	}
	if *wait != "" {
		if err := tab.Shows(ctx, *wait); err != nil {
			return err
		}
	}
	picture, err := tab.Picture(ctx, false)
	if err != nil {
		return err
	}
	return os.WriteFile(flag.Arg(1), picture, 0o644)
}
