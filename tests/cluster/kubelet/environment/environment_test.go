package environment

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestVariablesInTextAreExpanded(t *testing.T) {
	lookup := func(name string) (string, bool) {
		return map[string]string{"A": "1", "B": "$(A)"}[name], name == "A" || name == "B"
	}
	for text, want := range map[string]string{
		"x$(A)y": "x1y", "$$(A)": "$(A)", "$(C)": "$(C)", "$A": "$A", "$(A": "$(A", "$": "$", "$$": "$", "$(B)": "$(A)",
		"$$$(A)": "$1", "": "",
	} {
		if got := Expand(text, lookup); got != want {
			t.Errorf("%s became %s, not %s", text, got, want)
		}
	}
}

func testSource() *Source {
	missing := func(name string) error { return apierrors.NewNotFound(schema.GroupResource{}, name) }
	return &Source{
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", Labels: map[string]string{"app": "x"}},
			Status:     v1.PodStatus{PodIP: "10.0.0.9"},
		},
		Image: map[string]string{"IMAGE": "i", "OVER": "image"},
		ConfigMap: func(name string) (*v1.ConfigMap, error) {
			if name != "cm" {
				return nil, missing(name)
			}
			return &v1.ConfigMap{Data: map[string]string{"k": "v", "OVER": "map"}}, nil
		},
		Secret: func(name string) (*v1.Secret, error) {
			if name != "s" {
				return nil, missing(name)
			}
			return &v1.Secret{Data: map[string][]byte{"k": []byte("secret")}}, nil
		},
	}
}

func TestLaterVariablesReplaceAndUseEarlierOnes(t *testing.T) {
	yes := true
	reference := func(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }
	container := &v1.Container{
		EnvFrom: []v1.EnvFromSource{
			{Prefix: "P_", ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: reference("cm")}},
			{SecretRef: &v1.SecretEnvSource{LocalObjectReference: reference("none"), Optional: &yes}},
		},
		Env: []v1.EnvVar{
			{Name: "OVER", Value: "$(IMAGE)-$(P_k)-$(LATER)"},
			{Name: "LATER", Value: "x"},
			{Name: "IP", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
			{Name: "APP", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}},
			{Name: "S", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{
				LocalObjectReference: reference("s"), Key: "k"}}},
			{Name: "ABSENT", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{
				LocalObjectReference: reference("cm"), Key: "none", Optional: &yes}}},
		},
	}
	variables, err := testSource().Variables(container)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"IMAGE=i", "OVER=i-v-$(LATER)", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "P_OVER=map",
		"P_k=v", "LATER=x", "IP=10.0.0.9", "APP=x", "S=secret",
	}
	if got := variables.List(); !slices.Equal(got, want) {
		t.Errorf("%q\nnot\n%q", got, want)
	}
}

func TestMissingSourcesAreNamed(t *testing.T) {
	for want, from := range map[string]*v1.EnvVarSource{
		"couldn't find key none in ConfigMap cm": {ConfigMapKeyRef: &v1.ConfigMapKeySelector{
			LocalObjectReference: v1.LocalObjectReference{Name: "cm"}, Key: "none"}},
		`"lost" not found`: {SecretKeyRef: &v1.SecretKeySelector{
			LocalObjectReference: v1.LocalObjectReference{Name: "lost"}, Key: "k"}},
		`"spec.color" is not a field`: {FieldRef: &v1.ObjectFieldSelector{FieldPath: "spec.color"}},
	} {
		_, err := testSource().Variables(&v1.Container{Env: []v1.EnvVar{{Name: "V", ValueFrom: from}}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "env V") {
			t.Errorf("error %v does not say %s", err, want)
		}
	}
}

func TestResourcesAreInUnitsOfTheDivisorAndFallBackToTheNode(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{
		Limits: v1.ResourceList{"memory": resource.MustParse("100Mi")},
	}}}}}
	node := v1.ResourceList{"cpu": resource.MustParse("1500m")}
	for name, test := range map[string]struct{ divisor, want string }{
		"limits.memory": {"1Mi", "100"}, "limits.cpu": {"1", "2"}, "requests.cpu": {"1m", "0"},
	} {
		field := &v1.ResourceFieldSelector{Resource: name, Divisor: resource.MustParse(test.divisor)}
		if got, err := Resource(pod, "c", field, node); err != nil || got != test.want {
			t.Errorf("%s in %s is %s (%v), not %s", name, test.divisor, got, err, test.want)
		}
	}
}

func TestServicesOfTheNamespaceAndTheServerAreTold(t *testing.T) {
	service := func(namespace, name, address string) *v1.Service {
		return &v1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       v1.ServiceSpec{ClusterIP: address, Ports: []v1.ServicePort{{Name: "web", Port: 80}}},
		}
	}
	services := []*v1.Service{
		service("n", "a-b", "10.0.0.2"), service("default", "kubernetes", "10.0.0.1"), service("default", "other", "10.0.0.3"),
		service("n", "headless", v1.ClusterIPNone),
	}
	names := func(links bool) (hosts []string) {
		for _, variable := range Services(services, "n", links) {
			if strings.HasSuffix(variable.Name, "_SERVICE_HOST") {
				hosts = append(hosts, variable.Name+"="+variable.Value)
			}
		}
		return hosts
	}
	if got := names(false); !slices.Equal(got, []string{"KUBERNETES_SERVICE_HOST=10.0.0.1"}) {
		t.Errorf("without links: %q", got)
	}
	if got := names(true); !slices.Equal(got, []string{"A_B_SERVICE_HOST=10.0.0.2", "KUBERNETES_SERVICE_HOST=10.0.0.1"}) {
		t.Errorf("with links: %q", got)
	}
}

func TestNamesAreResolvedByPolicy(t *testing.T) {
	resolver := Resolver{ClusterDNS: "10.96.0.10", ClusterDomain: "c.l", Machine: "nameserver 9.9.9.9\nsearch m\n"}
	cluster := "nameserver 10.96.0.10\nsearch n.svc.c.l svc.c.l c.l\noptions ndots:5\n"
	for _, test := range []struct {
		policy v1.DNSPolicy
		host   bool
		want   string
	}{
		{v1.DNSClusterFirst, false, cluster},
		{v1.DNSClusterFirst, true, "nameserver 9.9.9.9\nsearch m\n"},
		{v1.DNSClusterFirstWithHostNet, true, cluster},
		{v1.DNSDefault, false, "nameserver 9.9.9.9\nsearch m\n"},
		{v1.DNSNone, false, ""},
	} {
		pod := &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n"},
			Spec:       v1.PodSpec{DNSPolicy: test.policy, HostNetwork: test.host},
		}
		if got := resolver.ResolvConf(pod); got != test.want {
			t.Errorf("%s, hostNetwork %t: %q, not %q", test.policy, test.host, got, test.want)
		}
	}
}
