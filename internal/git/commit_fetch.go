package git

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// FetchCommit has a commit in the mirror of which it is known, from Gerrit's
// REST, that a ref points to it, and moves the mirror's ref there. It asks for
// just that in one request of git's protocol v2, on top of what the refs near
// have here; whatever is in the way of that, it fetches the ref as Fetch does.
// ErrNotFound: the ref is not there, or points elsewhere now.
func (s *Store) FetchCommit(ctx context.Context, r Remote, ref, commit string, near ...string) error {
	if err := errors.Join(checkID(commit), checkRefPattern(ref)); err != nil {
		return fmt.Errorf("fetch %s from %s: %w", r.Project, redacted(r.URL), err)
	}
	if done, err := s.moveRef(ctx, r.Project, ref, commit); done || err != nil {
		return err
	}
	quick := s.fetchCommit(ctx, r, ref, commit, near)
	if quick == nil || ctx.Err() != nil {
		return quick
	}
	if _, err := s.Fetch(ctx, r, ref); err != nil {
		return err
	}
	if _, err := s.Tree(ctx, r.Project, commit); err != nil {
		return fmt.Errorf("fetch %s from %s: %s is not at %s any more: %w", r.Project, redacted(r.URL), ref, commit, err)
	}
	return nil
}

// moveRef moves the mirror's ref to a commit that is here already, forwards or back.
func (s *Store) moveRef(ctx context.Context, p Project, ref, commit string) (done bool, err error) {
	dir, err := s.repo(p)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if at, err := s.resolve(ctx, dir, ref, "commit"); at == commit || err != nil && !errors.Is(err, ErrNotFound) {
		return at == commit, err
	}
	if _, err := s.resolve(ctx, dir, commit, "commit"); err != nil {
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return false, err
	}
	err = s.point(ctx, p, ref, commit)
	return err == nil, err
}

const (
	commitPack    = 16 << 20         // bytes; what is larger is left to git
	commitTimeout = 20 * time.Second // of the one request
)

func (s *Store) fetchCommit(ctx context.Context, r Remote, ref, commit string, near []string) error {
	dir, err := s.repo(r.Project)
	if err != nil {
		return err
	}
	have, err := s.named(ctx, dir, near)
	if err != nil || len(have) == 0 {
		return errors.Join(err, errors.New("nothing is here that it would stand on"))
	}
	pack, err := s.requestPack(ctx, r, commit, have)
	if err != nil {
		return err
	}
	// No lock: what arrives now is too new for a garbage collection to remove.
	if _, err := s.run(ctx, call{dir: dir, stdin: bytes.NewReader(pack)}, "unpack-objects", "-q", "--strict"); err != nil {
		return err
	}
	return s.point(ctx, r.Project, ref, commit)
}

// point has a ref point to a commit that is here.
func (s *Store) point(ctx context.Context, p Project, ref, commit string) error {
	return s.updateRefs(ctx, p, "move", fmt.Sprintf("update %s %s\n", ref, commit), ref)
}

// requestPack asks for the objects that commit needs beyond those of have.
func (s *Store) requestPack(ctx context.Context, r Remote, commit string, have []Ref) ([]byte, error) {
	if _, err := s.remoteConfig(r); err != nil {
		return nil, err
	}
	client, err := s.client(r)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	packet := func(line string) { fmt.Fprintf(&body, "%04x%s", len(line)+4, line) }
	packet("command=fetch\n")
	body.WriteString("0001")
	packet("no-progress\n")
	packet("ofs-delta\n")
	packet("want " + commit + "\n")
	for _, h := range have {
		packet("have " + h.ID + "\n")
	}
	packet("done\n")
	body.WriteString("0000")
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL+"/git-upload-pack", &body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	req.Header.Set("Accept", "application/x-git-upload-pack-result")
	req.Header.Set("Git-Protocol", "version=2")
	if r.User != "" {
		req.SetBasicAuth(r.User, r.Password)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	return readPack(res.Body)
}

// readPack reads the answer to a fetch: the one section that there is after
// "done", a pack on side band 1.
func readPack(r io.Reader) ([]byte, error) {
	in := bufio.NewReader(r)
	var pack bytes.Buffer
	for begun := false; ; {
		line, err := readPacket(in)
		switch {
		case errors.Is(err, errFlush) && begun:
			return pack.Bytes(), nil
		case err != nil:
			return nil, err
		case !begun:
			if begun = string(line) == "packfile\n"; !begun {
				return nil, fmt.Errorf("answered %.200q", line)
			}
		case len(line) > 0 && line[0] == 1:
			if pack.Len()+len(line) > commitPack {
				return nil, ErrTooLarge
			}
			pack.Write(line[1:])
		case len(line) > 0 && line[0] == 3:
			return nil, fmt.Errorf("refused: %.200q", line[1:])
		}
	}
}

var errFlush = errors.New("the answer ended early")

// readPacket reads one line of git's protocol: four hexadecimal digits that
// count themselves, too, and the rest.
func readPacket(in *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	if err != nil {
		return nil, fmt.Errorf("packet of length %q", head)
	}
	if n == 0 {
		return nil, errFlush
	}
	if n < 4 {
		return nil, fmt.Errorf("packet %q where there is to be none", head)
	}
	line := make([]byte, n-4)
	_, err = io.ReadFull(in, line)
	return line, err
}

// client gives the HTTP client for a remote. A redirect is not followed: it
// would take the credentials along.
func (s *Store) client(r Remote) (*http.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.Join([]string{r.Proxy, r.NoProxy, r.CABundle}, "\n")
	if c := s.clients[key]; c != nil {
		return c, nil
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if r.Proxy == "" || bypasses(r.NoProxy, req.URL.Hostname()) {
			return nil, nil
		}
		return url.Parse(r.Proxy)
	}
	if r.CABundle != "" {
		pem, err := os.ReadFile(r.CABundle)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", r.CABundle)
		}
	}
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if s.clients == nil {
		s.clients = map[string]*http.Client{}
	}
	s.clients[key] = c
	return c, nil
}
