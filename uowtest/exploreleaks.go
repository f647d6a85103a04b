package uowtest

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// goroutineLabel marks the goroutine of an operation, and those that it starts.
const goroutineLabel = "uowtest.run"

// leaks returns what an operation that has ended has left behind. What is about to
// end gets some time for it, as long as that has not been in vain too often.
func (p *process) leaks(label string) (leaks []string) {
	const patience, inVain = time.Second, 3
	for wait := time.Duration(0); ; wait = max(2*wait, time.Millisecond) {
		if leaks = p.leaksNow(label); len(leaks) == 0 {
			return nil
		}
		if wait > patience || p.scene.leaked >= inVain {
			p.scene.leaked++
			return leaks
		}
		runtime.Gosched()
		<-time.After(wait)
	}
}

func (p *process) leaksNow(label string) (leaks []string) {
	if n := len(p.store.transactions()); n > 0 {
		leaks = append(leaks, fmt.Sprintf("it left units open: %d", n))
	}
	if p.scene.InUse != nil {
		if n := p.scene.InUse(); n != 0 {
			leaks = append(leaks, fmt.Sprintf("it left connections in use: %d", n))
		}
	}
	return append(leaks, labelled(label)...)
}

// labelled describes the goroutines with the label, but for the operation's own.
func labelled(label string) (found []string) {
	var buf bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&buf, 1); err != nil {
		return nil
	}
	mark := fmt.Sprintf("%q:%q", goroutineLabel, label)
	for _, group := range strings.Split(buf.String(), "\n\n") {
		own := strings.Contains(group, "(*process).operate") // which is at its end
		if strings.Contains(group, mark) && !own {
			found = append(found, "it left a goroutine running:\n"+indent(group, "    "))
		}
	}
	return found
}
