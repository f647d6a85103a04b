package config

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// readDocument parses one YAML document. An empty text gives nil.
func readDocument(file string, data []byte) (*yaml.Node, *Error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, syntaxError(file, err)
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return nil, at(file, &second, "", "found a second YAML document, expected one document in a file")
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxError(file, err)
	}
	if len(document.Content) == 0 || isNull(document.Content[0]) {
		return nil, nil
	}
	root := document.Content[0]
	if resolve(root).Kind != yaml.MappingNode {
		return nil, at(file, root, "", "found %s, expected a mapping of sections", found(root, ""))
	}
	return root, nil
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	n = resolve(n)
	return n == nil || n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// entry is one key of a mapping and its value.
type entry struct {
	key, value *yaml.Node
}

// entries returns the entries of a mapping, those that are merged in (<<) last.
func entries(n *yaml.Node) []entry { return mergedEntries(n, map[*yaml.Node]bool{}) }

func mergedEntries(n *yaml.Node, seen map[*yaml.Node]bool) []entry {
	n = resolve(n)
	if n == nil || n.Kind != yaml.MappingNode || seen[n] {
		return nil
	}
	seen[n] = true
	var own, merged []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() != "!!merge" {
			own = append(own, entry{key, value})
			continue
		}
		if list := resolve(value); list.Kind == yaml.SequenceNode {
			for _, item := range list.Content {
				merged = append(merged, mergedEntries(item, seen)...)
			}
		} else {
			merged = append(merged, mergedEntries(value, seen)...)
		}
	}
	return append(own, merged...)
}

// lookup returns the value of a key in a mapping, or nil.
func lookup(n *yaml.Node, key string) *yaml.Node {
	for _, e := range entries(n) {
		if e.key.Value == key {
			return e.value
		}
	}
	return nil
}

// items returns the items of a list.
func items(n *yaml.Node) []*yaml.Node {
	if n = resolve(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// cut removes the keys that match from a mapping and returns them.
func cut(n *yaml.Node, match func(key string) bool) []string {
	if n = resolve(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var keys []string
	var kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; key.Kind == yaml.ScalarNode && match(key.Value) {
			keys = append(keys, key.Value)
			continue
		}
		kept = append(kept, n.Content[i], n.Content[i+1])
	}
	n.Content = kept
	return keys
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func child(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
