// Command schemagen writes the JSON Schemas of the site file and the package
// file into a folder: go generate ./internal/config. A test of that package
// fails when what is committed is stale.
package main

import (
	"log"
	"os"
	"path/filepath"

	"sluice/internal/config"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: schemagen FOLDER")
	}
	for name, schema := range map[string]func() ([]byte, error){
		"site.json": config.SiteSchema, "package.json": config.PackageSchema,
	} {
		text, err := schema()
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], name), text, 0o644)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}
