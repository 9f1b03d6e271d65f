// Command build makes the page: it bundles web/src and the libraries in
// web/vendor into web/dist, which is committed and embedded into sluice.
//
//	go run ./web/build           from the checkout's root; needs neither Node nor a network
//	go run ./web/build -vendor   take the libraries anew from web/node_modules (after `npm ci` in web)
//
// The same sources give the same bytes; a test compares them with what is committed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// libraries are the modules that the page's sources import, and where vendor has them.
var libraries = map[string]string{
	"preact":               "preact/dist/preact.mjs",
	"preact/hooks":         "preact/hooks/dist/hooks.mjs",
	"preact/jsx-runtime":   "preact/jsx-runtime/dist/jsxRuntime.mjs",
	"@preact/signals":      "@preact/signals/dist/signals.mjs",
	"@preact/signals-core": "@preact/signals-core/dist/signals-core.mjs",
}

// papers go with each library: its licence, and the version it is.
var papers = []string{
	"preact/LICENSE", "preact/package.json",
	"@preact/signals/LICENSE", "@preact/signals/package.json",
	"@preact/signals-core/LICENSE", "@preact/signals-core/package.json",
}

// copied are sources that the bundler leaves as they are.
var copied = []string{"index.html", "icon.svg"}

func main() {
	web := flag.String("web", "web", "folder of the page")
	vendor := flag.Bool("vendor", false, "first copy the libraries from node_modules to vendor")
	flag.Parse()
	if err := run(*web, *vendor); err != nil {
		fmt.Fprintln(os.Stderr, "build the page:", err)
		os.Exit(1)
	}
}

func run(web string, vendor bool) error {
	if vendor {
		if err := copyLibraries(web); err != nil {
			return err
		}
	}
	files, err := Build(web)
	if err != nil {
		return err
	}
	dist := filepath.Join(web, "dist")
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	for name, data := range files {
		if err := write(filepath.Join(dist, name), data); err != nil {
			return err
		}
	}
	return nil
}

// Build gives the files of dist by their names. Nothing is written. An error
// names the source's file and line.
func Build(web string) (map[string][]byte, error) {
	web, err := filepath.Abs(web)
	if err != nil {
		return nil, err
	}
	alias := map[string]string{}
	for name, file := range libraries {
		alias[name] = filepath.Join(web, "vendor", file)
	}
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: web,
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: "src/main.tsx", OutputPath: "page"},
			{InputPath: "src/style.css", OutputPath: "page"},
		},
		Outdir:            "dist",
		Bundle:            true,
		Alias:             alias,
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		JSX:               api.JSXAutomatic,
		JSXImportSource:   "preact",
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Charset:           api.CharsetUTF8,
		LegalComments:     api.LegalCommentsNone,
		Banner:            map[string]string{"js": "/*! with preact, @preact/signals and @preact/signals-core, MIT: licences in web/vendor */"},
		TsconfigRaw:       `{"compilerOptions": {"verbatimModuleSyntax": true}}`,
	})
	if len(result.Errors) > 0 {
		return nil, errors.New(strings.Join(api.FormatMessages(result.Errors, api.FormatMessagesOptions{Kind: api.ErrorMessage}), ""))
	}
	files := map[string][]byte{}
	for _, f := range result.OutputFiles {
		name, err := filepath.Rel(filepath.Join(web, "dist"), f.Path)
		if err != nil {
			return nil, err
		}
		files[filepath.ToSlash(name)] = f.Contents
	}
	for _, name := range copied {
		if files[name], err = os.ReadFile(filepath.Join(web, "src", name)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// copyLibraries fills vendor from node_modules with what Build needs, and no more.
func copyLibraries(web string) error {
	names := append([]string{}, papers...)
	for _, file := range libraries {
		names = append(names, file)
	}
	if err := os.RemoveAll(filepath.Join(web, "vendor")); err != nil {
		return err
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(web, "node_modules", name))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: run `npm ci` in %s first", err, web)
		}
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".mjs") {
			data = withoutMap(data)
		}
		if err := write(filepath.Join(web, "vendor", name), data); err != nil {
			return err
		}
	}
	return nil
}

// withoutMap takes away a library's last line where it names a source map that
// is not here.
func withoutMap(data []byte) []byte {
	text, _, _ := strings.Cut(string(data), "\n//# sourceMappingURL=")
	return []byte(strings.TrimRight(text, "\n") + "\n")
}

func write(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}
