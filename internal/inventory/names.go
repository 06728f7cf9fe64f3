package inventory

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"hostmeter/internal/store"
)

// personal is all that we know of a person: it is in no other place, and only sealed.
type personal struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// keySize is that of AES-256.
const keySize = 32

// seal encrypts what we know of a customer by AES-256-GCM (NIST SP 800-38D): a random nonce of 12 octets, then
// the text, bound to the customer's identifier.
func seal(secret []byte, customer string, p personal) ([]byte, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	aead, err := aeadOf(secret)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(text)+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return aead.Seal(nonce, nonce, text, []byte(customer)), nil
}

func unseal(secret []byte, customer string, sealed []byte) (p personal, err error) {
	aead, err := aeadOf(secret)
	if err != nil {
		return p, err
	}
	if len(sealed) < aead.NonceSize() {
		return p, errors.New("sealed name is too short")
	}
	text, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(customer))
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(text, &p)
}

func aeadOf(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// loadCustomers reads the customers with the names that can be read: one whose key is gone has none.
func loadCustomers(ctx context.Context, tx *store.Tx, t *table[Customer]) error {
	rows, err := tx.Query(ctx, `SELECT c.id, c.reseller, c.rate_bought, k.secret, n.sealed, COALESCE(e.erased_at, 0) FROM customer AS c
		LEFT JOIN customer_key AS k ON k.customer = c.id LEFT JOIN customer_name AS n ON n.customer = c.id
		LEFT JOIN erasure AS e ON e.customer = c.id`)
	if err != nil {
		return fmt.Errorf("read customers: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c Customer
		var bought string
		var secret, sealed []byte
		var erased int64
		if err := rows.Scan(&c.ID, &c.Reseller, &bought, &secret, &sealed, &erased); err != nil {
			return fmt.Errorf("read customers: %w", err)
		}
		if bought != "" {
			if c.RateBought, err = parseRateBought(bought); err != nil {
				return fmt.Errorf("read the rate that customer %s has bought: %w", c.ID, err)
			}
		}
		c.Erased = timeOf(erased)
		if len(secret) > 0 && len(sealed) > 0 {
			p, err := unseal(secret, c.ID, sealed)
			if err != nil {
				return fmt.Errorf("read the name of customer %s: %w", c.ID, err)
			}
			c.Name, c.Email = p.Name, p.Email
		}
		t.rows[c.ID] = c
	}
	return rows.Err()
}

func writeCustomer(ctx context.Context, tx *store.Tx, e edit) error {
	f := &fields{get: cellOf(e.kind, e.new)}
	c := readCustomer(f)
	if len(f.errs) > 0 {
		return f.errs[0].err
	}
	_, err := tx.Exec(ctx, `INSERT INTO customer (id, reseller, rate_bought) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET reseller = excluded.reseller, rate_bought = excluded.rate_bought`, c.ID, c.Reseller, c.RateBought.String())
	if err != nil || c.Name == "" {
		return err
	}
	return writeName(ctx, tx, c.ID, personal{c.Name, c.Email})
}

// writeName seals a name under the customer's key, or a new one where it has none.
func writeName(ctx context.Context, tx *store.Tx, customer string, p personal) error {
	fresh := make([]byte, keySize)
	_, _ = rand.Read(fresh) // never fails
	if _, err := tx.Exec(ctx, `INSERT INTO customer_key (customer, secret) VALUES (?, ?) ON CONFLICT (customer) DO NOTHING`, customer, fresh); err != nil {
		return err
	}
	var secret []byte
	if err := tx.QueryRow(ctx, `SELECT secret FROM customer_key WHERE customer = ?`, customer).Scan(&secret); err != nil {
		return err
	}
	sealed, err := seal(secret, customer, p)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO customer_name (customer, sealed) VALUES (?, ?) ON CONFLICT (customer) DO UPDATE SET sealed = excluded.sealed`, customer, sealed)
	return err
}

// scrubDue is the setting that says that a store had names in clear, of which its files may still hold copies.
const scrubDue = "names_scrub_due"

// SealNames seals the names that a ledger from before the sealing has in clear, and takes them out of its
// files. It does nothing to a ledger that has none; a call that was killed goes on with the next one.
//
// Errors: store.ErrNotScrubbed where the names are sealed and the files still hold copies; store's.
func SealNames(ctx context.Context, db *store.DB) error {
	due := false
	for try := 1; ; try++ {
		err := db.Update(ctx, func(tx *store.Tx) (err error) {
			due, err = sealNames(ctx, tx)
			return err
		})
		if err == nil {
			break
		}
		if !store.IsConflict(err) || try == conflictRetries {
			return fmt.Errorf("seal the names of customers: %w", err)
		}
	}
	if !due {
		return nil
	}
	if err := db.Rebuild(ctx, "customer", "customer_unsealed"); err != nil {
		return fmt.Errorf("take the names of customers out of the files: %w", err)
	}
	return db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM setting WHERE name = ?`, scrubDue)
		return err
	})
}

func sealNames(ctx context.Context, tx *store.Tx) (due bool, err error) {
	clear, err := readUnsealed(ctx, tx)
	if err != nil {
		return false, err
	}
	for customer, p := range clear {
		if err := writeName(ctx, tx, customer, p); err != nil {
			return false, err
		}
	}
	if len(clear) > 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM customer_unsealed`); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO setting (name, value) VALUES (?, '') ON CONFLICT (name) DO NOTHING`, scrubDue); err != nil {
			return false, err
		}
		if _, err := nextVersion(ctx, tx); err != nil {
			return false, err
		}
	}
	var n int64
	err = tx.QueryRow(ctx, `SELECT COUNT(*) FROM setting WHERE name = ?`, scrubDue).Scan(&n)
	return n > 0, err
}

func readUnsealed(ctx context.Context, tx *store.Tx) (map[string]personal, error) {
	rows, err := tx.Query(ctx, `SELECT customer, name, email FROM customer_unsealed`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	clear := map[string]personal{}
	for rows.Next() {
		var customer string
		var p personal
		if err := rows.Scan(&customer, &p.Name, &p.Email); err != nil {
			return nil, err
		}
		clear[customer] = p
	}
	return clear, rows.Err()
}
