package nats

import "testing"

// Only the stream's plain acknowledgement is taken without being decoded.
func TestUsualAnswers(t *testing.T) {
	p := &Publisher{usual: usualAnswer("EVENTS")}
	for answer, want := range map[string]bool{
		`{"stream":"EVENTS","seq":17}`:                     true,
		`{"stream":"EVENTS", "seq":17}`:                    true,
		`{"stream":"EVENTS","seq":17,"duplicate":true}`:    false,
		`{"stream":"EVENTS","domain":"hub","seq":17}`:      false,
		`{"stream":"EVENTS2","seq":17}`:                    false,
		`{"stream":"EVENTS","seq":}`:                       false,
		`{"stream":"EVENTS","seq":1`:                       false,
		`{"error":{"code":503},"stream":"EVENTS","seq":0}`: false,
		``: false,
	} {
		if got := p.confirms([]byte(answer)); got != want {
			t.Errorf("confirms(%s) is %v", answer, got)
		}
	}
}
