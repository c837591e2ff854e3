package main

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/contrastive-go/contrastive/simd"
)

//go:embed report.html
var reportHTML string

var reportTemplate = template.Must(template.New("report").Parse(reportHTML))

// A reportRow is one metric.
type reportRow struct {
	Name, Before, After, Difference, Interval string
	Better, Worse                             bool
}

type reportBaseline struct{ Name, NDCG, MRR, Note string }

type reportPicture struct {
	picture
	Data []template.URL // of the panels
}

// report writes the pictures and the page to a folder.
func (s *session) report(folder string) error {
	if folder == noReport {
		return nil
	}
	var pictures []picture
	for _, draw := range []func() (picture, error){
		func() (picture, error) { return learningCurve(s.curve, s.adapter.Training.NDCG) },
		func() (picture, error) { return histograms(s.evaluation) },
		func() (picture, error) { return plane(s.evaluation) },
	} {
		if len(pictures) == 0 && len(s.curve.loss) == 0 || len(s.pictured) == 0 {
			pictures = append(pictures, picture{}) // nothing was trained: no curve
			continue
		}
		p, err := draw()
		if err != nil {
			return err
		}
		pictures = append(pictures, p)
	}
	page := filepath.Join(folder, "report.html")
	f, err := os.Create(page)
	if err != nil {
		return err
	}
	err = s.writeReport(f, pictures)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	for _, p := range pictures {
		if p.PNG == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, p.Name), p.PNG, 0o666); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(s.err, "wrote %s\n", page)
	return err
}

func (s *session) writeReport(w io.Writer, pictures []picture) error {
	data := struct {
		Title, Headline, Date, Version, Processor string
		Queries, Documents                        int
		Rows                                      []reportRow
		Baselines                                 []reportBaseline
		Pictures                                  []reportPicture
		Details                                   []detail
	}{
		Title: s.title, Date: time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		Version: version(), Processor: fmt.Sprintf("%s, %s, %d goroutines", runtime.GOARCH, simd.Level(), runtime.GOMAXPROCS(0)),
		Queries: s.queries, Documents: s.data.documents.vectors.Rows, Details: s.details(),
	}
	if data.Title == "" {
		data.Title = "Adapter"
	}
	n := s.difference[metricNDCG10]
	verdict := "the interval of the difference includes 0"
	if star(n) != "" {
		verdict = fmt.Sprintf("the difference is between %+.3f and %+.3f, with 95 %% confidence", n.low, n.high)
	}
	data.Headline = fmt.Sprintf("nDCG@10 of the test queries was %.3f before and is %.3f after; %s.", s.before[metricNDCG10].mean, s.after[metricNDCG10].mean, verdict)
	for m, name := range metricNames {
		d := s.difference[m]
		data.Rows = append(data.Rows, reportRow{
			Name: name, Before: fmt.Sprintf("%.3f", s.before[m].mean), After: fmt.Sprintf("%.3f", s.after[m].mean),
			Difference: fmt.Sprintf("%+.3f", d.mean), Interval: fmt.Sprintf("%+.3f … %+.3f", d.low, d.high), Better: d.low > 0, Worse: d.high < 0,
		})
	}
	for _, b := range s.baselines {
		data.Baselines = append(data.Baselines, reportBaseline{b.name, figure(b.ndcg), figure(b.mrr), b.note})
	}
	for _, p := range pictures {
		if p.PNG != nil {
			// The page is one file that can be sent to somebody.
			r := reportPicture{picture: p}
			for _, png := range p.Panels {
				r.Data = append(r.Data, template.URL("data:image/png;base64,"+base64.StdEncoding.EncodeToString(png)))
			}
			data.Pictures = append(data.Pictures, r)
		}
	}
	return reportTemplate.Execute(w, data)
}

// figure returns a metric, or a dash if it is not known.
func figure(v float64) string {
	if v != v {
		return "–"
	}
	return fmt.Sprintf("%.3f", v)
}

// version returns that of the module, or of the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	return v + ", " + info.GoVersion
}
