// Package mail sends plain text messages through a mail server.
//
// It owns the connection and the form of a message. It promises that its errors say what is known of the effect: a message
// that was refused, or never handed over, is nowhere; of any other failure it is not known. It repeats nothing:
// when to try again is the sender's to decide.
// Source: RFC 5321, sections 4.2.5 and 4.5.3.2.6; RFC 5322.
package mail

import (
	"context"
	"errors"
	"fmt"
	stdmail "net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// What is known of a message that was not sent well. An error that is none of them leaves it open.
var (
	// ErrRefused says that the server, or we, will not take this message however often it is sent.
	ErrRefused = errors.New("refused")
	// ErrUntouched says that the message was not handed over: sending it again cannot double it.
	ErrUntouched = errors.New("not handed over")
)

// Message is one mail to one person.
type Message struct {
	// ID becomes the Message-ID, with the domain of the sender: the same in every repeat of a message, and
	// no other's.
	ID      string
	To      string // an address
	Subject string
	Text    string
	At      time.Time // the date
	// Headers are more of them, as Auto-Submitted.
	Headers map[string]string
}

// Sender sends messages.
type Sender struct{ cfg Config }

// New returns a sender that has touched nothing yet. Errors: the configuration's.
func New(cfg Config) (*Sender, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("mail.%w", err)
	}
	return &Sender{cfg: cfg}, nil
}

// Enabled says whether mail is sent at all.
func (s *Sender) Enabled() bool { return s.cfg.Enabled() }

// Send hands one message over.
//
// Errors: ErrRefused, ErrUntouched; any other where it is not known whether the message is on its way.
func (s *Sender) Send(ctx context.Context, m Message) error {
	message, err := s.build(m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	client, err := s.client()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntouched, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	connection, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntouched, err)
	}
	defer func() { _ = client.CloseWithSMTPClient(connection) }() // what is known by then is known
	return judge(client.SendWithSMTPClient(connection, message), message.IsDelivered())
}

// judge says what is known after a failure. The server has the message once it has said so behind the last dot; what
// fails after that changes nothing. Without its last dot a message is none.
func judge(err error, delivered bool) error {
	var failure *gomail.SendError
	switch {
	case err == nil || delivered:
		return nil
	case !errors.As(err, &failure):
		return err
	case failure.ErrorCode() >= 500:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case failure.ErrorCode() == 0 && failure.Reason == gomail.ErrSMTPDataClose: // the text is over there, and nobody has answered
		return err
	}
	return fmt.Errorf("%w: %w", ErrUntouched, err)
}

func (s *Sender) client() (*gomail.Client, error) {
	host, port, err := s.cfg.address()
	if err != nil {
		return nil, err
	}
	options := []gomail.Option{gomail.WithPort(port), gomail.WithTimeout(s.cfg.Timeout), gomail.WithoutNoop()}
	switch s.cfg.TLS {
	case Implicit:
		options = append(options, gomail.WithSSL())
	case NoTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.cfg.Username != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.cfg.Username), gomail.WithPassword(s.cfg.Password.Reveal()))
	}
	return gomail.NewClient(host, options...)
}

func (s *Sender) build(m Message) (*gomail.Msg, error) {
	message := gomail.NewMsg(gomail.WithEncoding(gomail.EncodingQP), gomail.WithNoDefaultUserAgent())
	if err := message.From(s.cfg.From); err != nil {
		return nil, err
	}
	if err := message.To(m.To); err != nil {
		return nil, err
	}
	if s.cfg.ReplyTo != "" {
		if err := message.ReplyTo(s.cfg.ReplyTo); err != nil {
			return nil, err
		}
	}
	message.Subject(m.Subject)
	message.SetDateWithValue(m.At)
	message.SetMessageIDWithValue(m.ID + "@" + s.domain())
	for name, value := range m.Headers {
		message.SetGenHeader(gomail.Header(name), value)
	}
	message.SetBodyString(gomail.TypeTextPlain, m.Text)
	return message, nil
}

// domain is that of the sender's address, which was checked.
func (s *Sender) domain() string {
	address, err := stdmail.ParseAddress(s.cfg.From)
	if err != nil {
		return "localhost"
	}
	return address.Address[strings.LastIndex(address.Address, "@")+1:]
}
