package model_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Each line of the table of assumptions names code that makes it true, and a test; both
// are there.
func TestAssumptionsNameWhatIsThere(t *testing.T) {
	table := between(t, readFile(t, filepath.Join(models, "README.md")), "| assumption | code | tests |", "\n\n")
	reference := regexp.MustCompile("`([\\w/.]+\\.go)`((?: [\\w.]+,?)+)")
	declared := map[string]map[string]bool{}
	lines := strings.Split(strings.TrimSpace(table), "\n")[1:]
	if len(lines) < 10 {
		t.Fatalf("there are %d lines in the table", len(lines))
	}
	for _, line := range lines {
		cells := strings.Split(strings.Trim(line, "| "), "|")
		if len(cells) != 3 {
			t.Errorf("there are %d cells in %q", len(cells), line)
			continue
		}
		for _, cell := range cells[1:] {
			found := reference.FindAllStringSubmatch(cell, -1)
			if len(found) == 0 {
				t.Errorf("%q names no code", cell)
			}
			for _, m := range found {
				file := m[1]
				if declared[file] == nil {
					declared[file] = declarations(t, filepath.Join("../..", file))
				}
				for _, name := range strings.FieldsFunc(m[2], func(r rune) bool { return r == ' ' || r == ',' }) {
					if !declared[file][name] {
						t.Errorf("%s has no %s, of which %q speaks", file, name, cells[0])
					}
				}
			}
		}
	}
}

// declarations returns what a file declares: functions, methods, types, fields, and the
// names of checks, which are texts.
func declarations(t *testing.T, path string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return map[string]bool{}
	}
	names := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			names[n.Name.Name] = true
		case *ast.TypeSpec:
			names[n.Name.Name] = true
		case *ast.Field:
			for _, name := range n.Names {
				names[name.Name] = true
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil {
				names[text] = true
			}
		}
		return true
	})
	return names
}
