package main

import "context"

type fsckCommand struct {
	Config string `help:"The site file." default:"/etc/sluice/sluice.yaml" type:"existingfile"`
}

func (c *fsckCommand) Run(ctx context.Context, o output) error { return nil }
