package doctor_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostmeter/internal/doctor"
)

func TestFindingsAreNamedOrderedAndJudged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	findings := doctor.Run(context.Background(), []doctor.Check{
		doctor.Folder("data", t.TempDir()),
		doctor.ReceiveBuffer(1 << 60),
		doctor.Folder("log", filepath.Join(file, "below a file")),
		{Name: "silent", Run: func(context.Context) []doctor.Finding { return nil }},
	})
	var got []string
	for _, f := range findings {
		got = append(got, f.Check+":"+string(f.Level))
	}
	if want := "data:good receive buffer:warning log:fault silent:good"; strings.Join(got, " ") != want {
		t.Fatalf("got %s, want %s", strings.Join(got, " "), want)
	}
	f := func(n int, want doctor.Level) {
		t.Helper()
		if level := doctor.Worst(findings[:n]); level != want {
			t.Fatalf("worst of the first %d is %s, want %s", n, level, want)
		}
	}
	f(1, doctor.Good)
	f(2, doctor.Warning)
	f(3, doctor.Fault)
	f(4, doctor.Fault)
	var text strings.Builder
	if err := doctor.Write(&text, findings, false); err != nil || !strings.Contains(text.String(), "-> ") {
		t.Fatalf("the report has no hint: %q, %v", text.String(), err)
	}
}
