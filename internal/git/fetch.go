package git

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// Fetch brings the refs named, each a full name or PREFIX/* ("refs/heads/*"),
// from the remote into refs of the same name, and removes those below a prefix
// that the remote no longer has. Without refs it fetches all branches. It makes
// the repository if need be, checks every object that arrives, and returns the
// refs as they are now.
//
// Errors: ErrInvalid; ErrNotFound if the remote does not have a ref.
func (s *Store) Fetch(ctx context.Context, r Remote, refs ...string) ([]Ref, error) {
	if len(refs) == 0 {
		refs = []string{"refs/heads/*"}
	}
	got, err := s.fetch(ctx, r, refs)
	if err != nil {
		return nil, fmt.Errorf("fetch %s from %s: %w", r.Project, redacted(r.URL), err)
	}
	return got, nil
}

func (s *Store) fetch(ctx context.Context, r Remote, refs []string) ([]Ref, error) {
	dir, err := s.dir(r.Project)
	if err != nil {
		return nil, err
	}
	config, err := s.remoteConfig(r)
	if err != nil {
		return nil, err
	}
	var specs strings.Builder
	for _, ref := range refs {
		if err := checkRefPattern(ref); err != nil {
			return nil, err
		}
		fmt.Fprintf(&specs, "+%s:%s\n", ref, ref)
	}
	unlock, err := s.lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.create(ctx, dir); err != nil {
		return nil, err
	}
	_, err = s.run(ctx, call{dir: dir, config: config, stdin: strings.NewReader(specs.String())},
		"fetch", "--quiet", "--no-tags", "--prune", "--no-auto-maintenance", "--no-write-fetch-head",
		"--no-recurse-submodules", "--refmap=", "--stdin", "--", r.URL)
	if err != nil {
		if strings.Contains(err.Error(), "couldn't find remote ref") {
			return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return nil, err
	}
	return s.refs(ctx, dir, refs)
}

// remoteConfig is what git is told of the remote, by its environment.
func (s *Store) remoteConfig(r Remote) ([][2]string, error) {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("URL: %w", ErrInvalid)
	case u.User != nil:
		return nil, fmt.Errorf("URL holds a user or password: give them apart: %w", ErrInvalid)
	case u.Scheme == "file" && s.opt.AllowFile:
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return nil, fmt.Errorf("URL must begin with https:// or http://: %w", ErrInvalid)
	}
	if strings.ContainsAny(r.URL+r.User+r.Password+r.Proxy+r.CABundle, "\n\r\x00") {
		return nil, fmt.Errorf("a line break in URL, user, password, proxy or CA bundle: %w", ErrInvalid)
	}
	var c [][2]string
	if r.User != "" {
		token := base64.StdEncoding.EncodeToString([]byte(r.User + ":" + r.Password))
		c = append(c, [2]string{"http.extraHeader", "Authorization: Basic " + token})
	}
	if r.Proxy != "" && !bypasses(r.NoProxy, u.Hostname()) {
		c = append(c, [2]string{"http.proxy", r.Proxy})
	}
	if r.CABundle != "" {
		c = append(c, [2]string{"http.sslCAInfo", r.CABundle})
	}
	return c, nil
}

// bypasses: the host, or a domain that it is in, is in the list.
func bypasses(noProxy, host string) bool {
	for _, n := range strings.Split(noProxy, ",") {
		n = strings.TrimPrefix(strings.TrimSpace(n), ".")
		if n == "*" || n != "" && (strings.EqualFold(n, host) || strings.HasSuffix(strings.ToLower(host), "."+strings.ToLower(n))) {
			return true
		}
	}
	return false
}

// redacted is a URL for messages.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(a URL that does not parse)"
	}
	return u.Redacted()
}

// checkRefPattern takes full ref names and PREFIX/*, of branches and changes.
func checkRefPattern(ref string) error {
	name := strings.TrimSuffix(ref, "/*")
	if err := checkRef(name + "/x"); err != nil {
		return err
	}
	if !strings.HasPrefix(name+"/", "refs/heads/") && !strings.HasPrefix(name+"/", "refs/changes/") &&
		!strings.HasPrefix(name+"/", "refs/meta/") {
		return fmt.Errorf("ref %q: only branches, changes and refs/meta are fetched: %w", ref, ErrInvalid)
	}
	return nil
}

// ChangeRef is the ref of a change's patch set: refs/changes/34/1234/2.
func ChangeRef(number, patchSet int) string {
	return path.Join("refs/changes", fmt.Sprintf("%02d/%d/%d", number%100, number, patchSet))
}
