// Package mailtest is a mail server for tests: it keeps what it is sent, and fails where it is told to.
//
// It speaks as much SMTP (RFC 5321) as a client needs that submits one message in the clear.
package mailtest

import (
	"bufio"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	stdmail "net/mail"
	"strings"
	"sync"
)

// Failure is what the server does once, in place of what it should.
type Failure string

// The failures.
const (
	None         Failure = ""
	RefuseTo     Failure = "refuse recipient" // 550
	Defer        Failure = "defer"            // 451 behind the text
	CutBefore    Failure = "cut before text"  // the connection ends before the text
	CutAfter     Failure = "cut after text"   // the message is taken, and the answer lost
	HangUpAtOnce Failure = "hang up"          // before the greeting
)

// Mail is one message that was taken.
type Mail struct {
	To, Subject, ID, Text string
	Header                stdmail.Header
	Raw                   string
}

// Server is a mail server on loopback.
type Server struct {
	listener net.Listener
	mu       sync.Mutex
	taken    []Mail
	failures []Failure
	done     sync.WaitGroup
}

// Start listens at an address, "127.0.0.1:0" for any port.
func Start(address string) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: listener}
	s.done.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() { s.serve(connection) })
		}
	})
	return s, nil
}

// Addr is HOST:PORT.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close ends the server.
func (s *Server) Close() {
	_ = s.listener.Close()
	s.done.Wait()
}

// Fail makes the next connections fail, one each.
func (s *Server) Fail(failures ...Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, failures...)
}

// Taken returns what was taken so far.
func (s *Server) Taken() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.taken...)
}

func (s *Server) next() Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) == 0 {
		return None
	}
	failure := s.failures[0]
	s.failures = s.failures[1:]
	return failure
}

func (s *Server) serve(connection net.Conn) {
	defer func() { _ = connection.Close() }()
	failure := s.next()
	if failure == HangUpAtOnce {
		return
	}
	in := bufio.NewReader(connection)
	say := func(line string) { _, _ = io.WriteString(connection, line+"\r\n") }
	say("220 mailtest ESMTP")
	to := ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mailtest")
			say("250 8BITMIME")
		case "RCPT":
			if failure == RefuseTo {
				say("550 5.1.1 no such person")
				continue
			}
			to = strings.Trim(rest[strings.Index(rest, ":")+1:], "<> ")
			say("250 OK")
		case "DATA":
			if failure == CutBefore {
				return
			}
			say("354 go on")
			text, err := readText(in)
			if err != nil {
				return
			}
			if failure == Defer {
				say("451 4.3.0 later")
				continue
			}
			s.take(to, text)
			if failure == CutAfter {
				return
			}
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default: // HELO, MAIL, RSET, NOOP
			say("250 OK")
		}
	}
}

// readText reads up to the line that is a dot.
func readText(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == ".\r\n" {
			return b.String(), nil
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (s *Server) take(to, raw string) {
	m := Mail{To: to, Raw: raw}
	if message, err := stdmail.ReadMessage(strings.NewReader(raw)); err == nil {
		m.Header = message.Header
		m.ID = message.Header.Get("Message-ID")
		m.Subject, _ = new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
		text, _ := io.ReadAll(quotedprintable.NewReader(message.Body))
		m.Text = strings.ReplaceAll(string(text), "\r\n", "\n")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = append(s.taken, m)
}
