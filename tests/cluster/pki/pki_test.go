package pki

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"slices"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func leaf(t *testing.T, pair Pair) *x509.Certificate {
	t.Helper()
	keyed, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	return keyed.Leaf
}

func TestServersAreTrustedForTheirNamesOnly(t *testing.T) {
	authority := newAuthority(t)
	pair, err := authority.Server("kubernetes.default", "10.96.0.1", "fd00::1")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Certificate)
	for name, right := range map[string]bool{
		"kubernetes.default": true, "10.96.0.1": true, "fd00::1": true, "10.96.0.2": false, "kubernetes": false,
	} {
		_, err := leaf(t, pair).Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
		if (err == nil) != right {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !slices.ContainsFunc(leaf(t, pair).IPAddresses, net.ParseIP("10.96.0.1").Equal) {
		t.Error("an address is not among the addresses")
	}
	if _, err := authority.Server(); err == nil {
		t.Error("a server without a name got a certificate")
	}
}

func TestClientsAreNoServersAndKnownByUserAndGroups(t *testing.T) {
	authority := newAuthority(t)
	pair, err := authority.Client("system:node:a", "system:nodes", "other")
	if err != nil {
		t.Fatal(err)
	}
	subject := leaf(t, pair).Subject
	slices.Sort(subject.Organization) // a set, as they are encoded
	if subject.CommonName != "system:node:a" || !slices.Equal(subject.Organization, []string{"other", "system:nodes"}) {
		t.Errorf("subject is %v", subject)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Certificate)
	for usage, right := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageClientAuth: true, x509.ExtKeyUsageServerAuth: false} {
		_, err := leaf(t, pair).Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}})
		if (err == nil) != right {
			t.Errorf("usage %v: %v", usage, err)
		}
	}
}

func TestAnotherAuthorityIsNotTrusted(t *testing.T) {
	pair, err := newAuthority(t).Client("a")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(newAuthority(t).Certificate)
	options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := leaf(t, pair).Verify(options); err == nil {
		t.Error("a certificate of one authority is trusted by another")
	}
}

func TestSigningKeysBelongTogether(t *testing.T) {
	private, public, err := SigningKey()
	if err != nil {
		t.Fatal(err)
	}
	decode := func(text []byte) []byte {
		block, _ := pem.Decode(text)
		if block == nil {
			t.Fatalf("%q is not PEM", text)
		}
		return block.Bytes
	}
	key, err := x509.ParsePKCS8PrivateKey(decode(private))
	if err != nil {
		t.Fatal(err)
	}
	known, err := x509.ParsePKIXPublicKey(decode(public))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("a token"))
	signature, err := ecdsa.SignASN1(rand.Reader, key.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	if !ecdsa.VerifyASN1(known.(*ecdsa.PublicKey), digest[:], signature) {
		t.Error("the public key does not verify what the private one signs")
	}
}

func TestKubeconfigsNameServerAuthorityAndUser(t *testing.T) {
	authority := newAuthority(t)
	pair, err := authority.Client("admin")
	if err != nil {
		t.Fatal(err)
	}
	text, err := authority.Kubeconfig("https://10.0.0.1:6443", "admin", pair)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://10.0.0.1:6443" || string(config.CAData) != string(authority.Certificate) ||
		string(config.KeyData) != string(pair.Key) {
		t.Errorf("kubeconfig is %s", text)
	}
}
