package main

import (
	"math"
	"slices"
)

// quantile is the value below which the share q of values lies; between two
// values it lies between them in proportion. NaN of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 == len(v) {
		return v[i]
	}
	return v[i] + (v[i+1]-v[i])*(at-float64(i))
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// pick is the values at the indices given.
func pick(values []float64, indices []int) []float64 {
	var some []float64
	for _, i := range indices {
		some = append(some, values[i])
	}
	return some
}
