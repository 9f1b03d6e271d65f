package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
)

// CheckFiles looks at everything outside the site file that it names: secrets
// (there, and readable by nobody else), certificates, folders, scripts. It
// starts nothing and writes nothing. It fails with an *Error that lists all
// that is wrong; the warnings are what may be right elsewhere, such as an
// environment variable that is empty here.
func (s *Site) CheckFiles() ([]Warning, error) {
	src := &source{name: s.source.name, lines: s.source.lines, at: s.source.at, hidden: s.source.hidden}
	c := &fileCheck{source: src, site: s}
	c.secrets(reflect.ValueOf(s).Elem(), "")
	for i, g := range s.Gerrit {
		c.file(fmt.Sprintf("gerrit[%d].known_hosts", i), g.KnownHosts)
	}
	c.certificates("fetch.ca_bundle", s.Fetch.CABundle)
	for i, u := range s.Upstreams {
		c.folder(fmt.Sprintf("upstreams[%d].path", i), u.Path)
		c.file(fmt.Sprintf("upstreams[%d].key", i), u.Key)
	}
	for i, d := range s.Dists {
		c.program(fmt.Sprintf("dists[%d].roots.build.script", i), d.Roots.Build.Script)
		c.program(fmt.Sprintf("dists[%d].roots.install.script", i), d.Roots.Install.Script)
		c.program(fmt.Sprintf("dists[%d].roots.node.script", i), d.Roots.Node.Script)
	}
	for i, scenario := range s.Scenarios {
		if scenario.Project == "" {
			c.file(fmt.Sprintf("scenarios[%d].script", i), scenario.Script)
		}
	}
	return c.finish(c.warnings), c.err()
}

type fileCheck struct {
	*source
	site *Site
}

// secrets walks through all values and looks at each Secret.
func (c *fileCheck) secrets(v reflect.Value, path string) {
	switch {
	case v.Type() == secretType:
		c.secret(path, v.Interface().(Secret))
	case isRecord(v.Type()):
		for _, f := range fieldsOf(v.Type()) {
			c.secrets(v.Field(f.index), join(path, f.key))
		}
	case v.Kind() == reflect.Slice && isRecord(v.Type().Elem()):
		for i := range v.Len() {
			c.secrets(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

func (c *fileCheck) secret(path string, s Secret) {
	if s.Env() != "" && os.Getenv(s.Env()) == "" {
		c.warn(path, "%s: environment variable %s is empty here", path, s.Env())
	}
	if s.Path() == "" {
		return
	}
	info, err := os.Stat(s.Path())
	made := strings.HasPrefix(path, "keys.") && c.site.Keys.Generate
	switch {
	case errors.Is(err, fs.ErrNotExist) && made:
		return // the first start makes it
	case err != nil:
		c.fail(path, "%s: %v", path, err)
	case !info.Mode().IsRegular():
		c.fail(path, "%s: %s is no file", path, s.Path())
	case info.Mode().Perm()&0o077 != 0:
		c.fail(path, "%s: others may read %s (mode %04o); run: chmod 600 %s", path, s.Path(), info.Mode().Perm(), s.Path())
	default:
		text, err := s.Reveal()
		if err != nil {
			c.fail(path, "%s: %v", path, err)
		} else if text == "" {
			c.fail(path, "%s: %s is empty", path, s.Path())
		}
	}
}

// stat tells whether there is something to look at.
func (c *fileCheck) stat(path, file string) (fs.FileInfo, bool) {
	if file == "" {
		return nil, false
	}
	info, err := os.Stat(file)
	if err != nil {
		c.fail(path, "%s: %v", path, err)
		return nil, false
	}
	return info, true
}

func (c *fileCheck) file(path, file string) bool {
	info, ok := c.stat(path, file)
	if ok && !info.Mode().IsRegular() {
		c.fail(path, "%s: %s is no file", path, file)
		return false
	}
	return ok
}

func (c *fileCheck) folder(path, file string) {
	if info, ok := c.stat(path, file); ok && !info.IsDir() {
		c.fail(path, "%s: %s is no folder", path, file)
	}
}

func (c *fileCheck) program(path, file string) {
	if !c.file(path, file) {
		return
	}
	if info, ok := c.stat(path, file); ok && info.Mode().Perm()&0o111 == 0 {
		c.fail(path, "%s: %s cannot be executed; run: chmod +x %s", path, file, file)
	}
}

func (c *fileCheck) certificates(path, file string) {
	if !c.file(path, file) {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		c.fail(path, "%s: %v", path, err)
		return
	}
	count := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			c.fail(path, "%s: certificate %d of %s: %v", path, count+1, file, err)
			return
		}
		count++
	}
	if count == 0 {
		c.fail(path, "%s: %s holds no certificate in PEM form", path, file)
	}
}
