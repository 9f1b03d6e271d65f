package testenv_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestPostgresDatabasesAreApart(t *testing.T) {
	ctx := context.Background()
	one, two := testenv.Postgres(t), testenv.Postgres(t)
	if one == two {
		t.Fatal("two calls gave one database")
	}
	for _, dsn := range []string{one, two} {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "CREATE TABLE same (n int)"); err != nil {
			t.Fatal(err)
		}
	}
}

// Both versions: a change is pushed, amended, stacked, refused while it lacks votes, and merged.
func TestGerritChangeFromPushToMerge(t *testing.T) {
	for _, version := range []string{"3.13.5", "3.10.2"} {
		t.Run(version, func(t *testing.T) {
			g := testenv.GerritVersion(t, version)
			if g.Version != version {
				t.Fatalf("started Gerrit %s", g.Version)
			}
			project := g.Project(t, "", "", "main", "stable")
			first := g.Push(t, testenv.Proposal{Project: project, Message: "Add a script", Files: map[string]string{"bin/run": "#!/bin/sh\n"}})
			second := g.Push(t, testenv.Proposal{Project: project, Message: "Add a note\n\nDepends-On: none", On: first,
				Files: map[string]string{"note": "x\n"}, Topic: "notes"})
			amended := g.Push(t, testenv.Proposal{Project: project, Message: "Add a script\n\nAgain.", ChangeID: first.ChangeID,
				Files: map[string]string{"bin/run": "#!/bin/sh\nexit 0\n"}})
			if amended.Number != first.Number || amended.PatchSet != 2 {
				t.Fatalf("amended is change %d patch set %d, not %d patch set 2", amended.Number, amended.PatchSet, first.Number)
			}
			if err := g.Submit(first.Number, g.Gate); err == nil || !strings.Contains(err.Error(), "409") {
				t.Fatalf("a change without votes: %v", err)
			}
			g.Land(t, first.Number)
			if info := g.Change(t, first.Number); info.Status != "MERGED" || info.VoteOf(g.Gate, "Verified") != 2 {
				t.Fatalf("after landing: %+v", info)
			}
			if got := g.Change(t, second.Number); got.Topic != "notes" || got.Status != "NEW" {
				t.Fatalf("the second change: %+v", got)
			}
			dir := g.Fetch(t, g.Gate, project, second.Ref)
			out, err := exec.Command("git", "-C", dir, "cat-file", "-p", "refs/heads/main:bin/run").CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "exit 0\n") || g.Tip(t, project, "main") == g.Tip(t, project, "stable") {
				t.Fatalf("main holds %q, %v", out, err)
			}
		})
	}
}

func TestGerritRights(t *testing.T) {
	g := testenv.Gerrit(t)
	change := g.Push(t, testenv.Proposal{Project: g.Project(t, "", ""), Message: "Hide", Options: []string{"private"}, Files: map[string]string{"a": "a"}})
	path := "/changes/" + change.ChangeID
	if err := g.REST(g.Gate, "GET", path, nil, nil); err != nil {
		t.Errorf("the gate does not see a private change: %v", err)
	}
	if err := g.REST(g.Limited, "GET", path, nil, nil); err == nil {
		t.Error("the limited account sees a private change")
	}
	if err := g.REST(g.Reviewer, "POST", path+"/revisions/current/review", map[string]any{"labels": map[string]int{"Verified": 1}}, nil); err == nil {
		t.Error("a reviewer votes on the gate's own label")
	}
}

// dial opens an SSH connection as the gate.
func dial(t *testing.T, g *testenv.GerritServer, addr, hosts string) (*ssh.Client, error) {
	t.Helper()
	key, err := os.ReadFile(g.Gate.Key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(hosts)
	if err != nil {
		t.Fatal(err)
	}
	return ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: g.Gate.Name, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: check,
	})
}

func TestSSHLinkCutAndMended(t *testing.T) {
	g := testenv.Gerrit(t)
	link, hosts := g.SSHLink(t)
	client, err := dial(t, g, link.Addr, hosts)
	if err != nil {
		t.Fatal(err)
	}
	link.Cut()
	if err := client.Wait(); err == nil {
		t.Error("the connection ended without an error")
	}
	if _, err := dial(t, g, link.Addr, hosts); err == nil {
		t.Error("a cut link lets a connection through")
	}
	link.Mend()
	client, err = dial(t, g, link.Addr, hosts)
	if err != nil {
		t.Fatalf("a mended link: %v", err)
	}
	client.Close()
}

func TestRoots(t *testing.T) {
	distro := testenv.RPMDistro(t)
	for _, name := range []string{"dnf.conf", "home/.rpmmacros", "repo/repodata/repomd.xml"} {
		if _, err := os.Stat(filepath.Join(distro, name)); err != nil {
			t.Error(err)
		}
	}
	root := testenv.DebianRoot(t)
	if out, err := exec.Command("chroot", root, "dpkg-query", "-W", "-f", "${db:Status-Status}", "apt").CombinedOutput(); err != nil || string(out) != "installed" {
		t.Errorf("apt in the Debian root: %q, %v", out, err)
	}
}

// A Gerrit whose owner is gone stops by itself.
func TestGerritEndsWithItsOwner(t *testing.T) {
	owner := exec.Command("cat") // ends when its standard input does
	stdin, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	g := testenv.NewGerrit(t, "GERRIT_OWNER_PID="+strconv.Itoa(owner.Process.Pid))
	conn, err := net.Dial("tcp", g.SSHAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stdin.Close()
	if err := owner.Wait(); err != nil {
		t.Fatal(err)
	}
	// The server closes our connection when it ends.
	_, _ = io.Copy(io.Discard, conn)
}
