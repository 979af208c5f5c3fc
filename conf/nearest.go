package conf

import (
	"slices"
	"strings"
)

// nearest returns the known key that the unknown one most likely stands for, or "".
// Case, hyphens and underscores are ignored: aesKey, aes_key and AES-KEY all mean aes-key.
func nearest(unknown string, known []string) string {
	const maxLen = 40 // no key is that long, and the distance below is quadratic
	if len(unknown) > maxLen {
		return ""
	}
	u := plain(unknown)
	best, bestDistance := "", 3
	for _, k := range known {
		p := plain(k)
		limit := 1
		if len(p) > 4 {
			limit = 2
		}
		if d := distance(u, p); d <= limit && d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

func plain(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance counts the insertions, deletions, replacements and swaps of neighbours between a and b.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 {
		return max(len(a), len(b)) // farther than anyone asks
	}
	older, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = slices.Min([]int{prev[j] + 1, cur[j-1] + 1, prev[j-1] + cost})
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], older[j-2]+1)
			}
		}
		older, prev, cur = prev, cur, older
	}
	return prev[len(b)]
}
