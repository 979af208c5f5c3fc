package main

import (
	"math"
	"testing"
)

func TestQuantile(t *testing.T) {
	f := func(values []float64, q, want float64) {
		t.Helper()
		if got := quantile(values, q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile(%v, %v) = %v, want %v", values, q, got, want)
		}
	}
	hundred := make([]float64, 101)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	f([]float64{7}, 0.99, 7)
	f([]float64{3, 1, 2}, 0.5, 2)
	f([]float64{4, 1, 3, 2}, 0.5, 2.5)
	f([]float64{4, 1, 3, 2}, 0, 1)
	f([]float64{4, 1, 3, 2}, 1, 4)
	f(hundred, 0.99, 99)
	f(hundred, 0.25, 25)
	if hundred[0] != 100 {
		t.Error("quantile sorted the values of its caller")
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v", got)
	}
}
