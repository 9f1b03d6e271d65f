package postgres_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

var (
	isStatement = regexp.MustCompile(`(?i)^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|DROP)\s`)
	namedArg    = regexp.MustCompile(`@([a-z_]+)`)
)

// Every statement of the package can be prepared against the migrated schema.
func TestStatementsFitTheSchema(t *testing.T) {
	s, dsn := open(t)
	_ = s
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	n := 0
	for at, statement := range statements(t) {
		numbers := map[string]string{}
		statement = namedArg.ReplaceAllStringFunc(statement, func(name string) string {
			if numbers[name] == "" {
				numbers[name] = fmt.Sprintf("$%d", len(numbers)+1)
			}
			return numbers[name]
		})
		n++
		if strings.HasPrefix(strings.TrimSpace(statement), "CREATE DATABASE") {
			continue // cannot be prepared; TestEmbedded runs it
		}
		if _, err := conn.Prepare(ctx, fmt.Sprintf("s%d", n), statement); err != nil {
			t.Errorf("%s: %v\n%s", at, err, statement)
		}
	}
	if n < 90 {
		t.Errorf("found %d statements only", n)
	}
}

// statements finds every constant string of the package that is one, by place.
func statements(t *testing.T) map[string]string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	names, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	// Imports are not resolved: constant strings need none.
	conf := types.Config{Error: func(error) {}, Importer: nowhere{importer.Default()}}
	_, _ = conf.Check("postgres", fset, files, info)
	out := map[string]string{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			v := info.Types[e].Value
			if v == nil || v.Kind() != constant.String {
				return true
			}
			if text := constant.StringVal(v); isStatement.MatchString(text) {
				p := fset.Position(e.Pos())
				out[fmt.Sprintf("%s:%d", filepath.Base(p.Filename), p.Line)] = text
			}
			return false // its parts are no statements
		})
	}
	return out
}

// nowhere has no packages.
type nowhere struct{ types.Importer }

func (nowhere) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s: not here", path)
}

// The schema goes down to nothing and up again.
func TestMigrationsUpDownUp(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	newest, err := s.SchemaVersion(ctx)
	if err != nil || newest < 1 {
		t.Fatalf("version %d, %v", newest, err)
	}
	before := tables(t, dsn)
	for version := newest; version > 0; {
		if err := s.MigrateDown(ctx); err != nil {
			t.Fatal(err)
		}
		if version, err = s.SchemaVersion(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range tables(t, dsn) {
		if name != "goose_db_version" && !strings.HasPrefix(name, "river_") {
			t.Errorf("%s is left", name)
		}
	}
	if current, err := s.SchemaCurrent(ctx); err != nil || current {
		t.Errorf("current: %v, %v", current, err)
	}
	for range 2 { // the second time does nothing
		if err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if after := tables(t, dsn); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("tables %v, and before %v", after, before)
	}
}

func tables(t *testing.T, dsn string) []string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}
