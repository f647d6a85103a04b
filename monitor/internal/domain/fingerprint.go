package domain

import (
	"slices"
	"strconv"
)

// The parameters of 64-bit FNV-1a, and the byte that ends a name or a value: it
// occurs in no UTF-8 text.
const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
	separator byte   = 0xff
)

// Fingerprint returns the 16 hexadecimal digits by which Alertmanager, too,
// names this label set.
func Fingerprint(labels map[string]string) string {
	return hex(fingerprint(labels))
}

func fingerprint(labels map[string]string) uint64 {
	var room [24]string // keeps the names of a usual alert off the heap
	names := room[:0]
	for name := range labels {
		names = append(names, name)
	}
	slices.Sort(names)
	sum := fnvOffset
	for _, name := range names {
		sum = fnvAdd(fnvAdd(sum, name), labels[name])
	}
	return sum
}

func fnvAdd(sum uint64, s string) uint64 {
	for i := range len(s) {
		sum = (sum ^ uint64(s[i])) * fnvPrime
	}
	return (sum ^ uint64(separator)) * fnvPrime
}

func hex(sum uint64) string {
	const digits = "0123456789abcdef"
	var out [16]byte
	for i := range out {
		out[i] = digits[sum>>(60-4*i)&0xf]
	}
	return string(out[:])
}

// fingerprint is the number that Fingerprint spells.
func (a *Alert) fingerprint() uint64 {
	if sum, err := strconv.ParseUint(a.Fingerprint, 16, 64); err == nil {
		return sum
	}
	return fingerprint(a.Labels)
}
