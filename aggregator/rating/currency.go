package rating

import "strings"

// Codes of ISO 4217 in use, by the number of digits of their smallest unit.
// Source: ISO 4217, list one (funds codes, metals and test codes left out).
const (
	currencies0 = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
	currencies2 = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF " +
		"CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF " +
		"IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK " +
		"MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE " +
		"SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG"
	currencies3 = "BHD IQD JOD KWD LYD OMR TND"
)

// currencyDigits is filled once and never written again.
var currencyDigits = func() map[string]int32 {
	digits := map[string]int32{}
	for n, codes := range map[int32]string{0: currencies0, 2: currencies2, 3: currencies3} {
		for _, code := range strings.Fields(codes) {
			digits[code] = n
		}
	}
	return digits
}()

// IsCurrency says whether code is a currency of ISO 4217.
func IsCurrency(code string) bool {
	_, ok := currencyDigits[code]
	return ok
}

// CurrencyDigits returns how many digits behind the point amounts of a currency have; 2 for one
// that is not known.
func CurrencyDigits(code string) int32 {
	if digits, ok := currencyDigits[code]; ok {
		return digits
	}
	return 2
}
