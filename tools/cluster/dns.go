// The cluster's names: answers <service>.<namespace>.svc.cluster.local with the service's address, over UDP, and hands every
// other question to this machine's own resolver. What the tests of a site need of CoreDNS, and no more: no headless
// services, no pods' names, no TCP.
package main

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/dns/dnsmessage"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	zone    = ".svc.cluster.local."
	domain  = ".cluster.local."
	ttl     = 5 // seconds
	patient = 3 * time.Second
)

func newNamesCommand() *cobra.Command {
	var kubeconfig, listen, resolvConf string
	command := &cobra.Command{Use: "dns", Short: "names of services", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error { return serveNames(command.Context(), kubeconfig, listen, resolvConf) }}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&listen, "listen", "127.0.0.1:53", "address and UDP port")
	command.Flags().StringVar(&resolvConf, "resolv-conf", "/etc/resolv.conf", "names the resolver for all other names")
	return command
}

func serveNames(ctx context.Context, kubeconfig, listen, resolvConf string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if ctx == nil {
		ctx = context.Background()
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services().Lister()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	socket, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		size, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		question := append([]byte(nil), buffer[:size]...)
		go func() {
			answer, err := answerTo(question, services)
			if errors.Is(err, errNotOurs) {
				answer, err = forward(question, resolvConf)
			}
			if err == nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}()
	}
}

var errNotOurs = errors.New("not a name of this cluster")

// answerTo gives the packet that answers a question about this cluster, errNotOurs if it is about something else.
func answerTo(packet []byte, services listers.ServiceLister) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(packet)
	if err != nil {
		return nil, err
	}
	question, err := parser.Question()
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(question.Name.String())
	if !strings.HasSuffix(name, domain) {
		return nil, errNotOurs
	}
	address := addressOf(name, services)
	reply := dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true}
	if address == nil {
		reply.RCode = dnsmessage.RCodeNameError
	}
	builder := dnsmessage.NewBuilder(nil, reply)
	if err := builder.StartQuestions(); err != nil {
		return nil, err
	}
	if err := builder.Question(question); err != nil {
		return nil, err
	}
	if address != nil && question.Type == dnsmessage.TypeA { // other types of a name that exists: no error, and nothing
		if err := builder.StartAnswers(); err != nil {
			return nil, err
		}
		about := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: ttl}
		if err := builder.AResource(about, dnsmessage.AResource{A: [4]byte(address)}); err != nil {
			return nil, err
		}
	}
	return builder.Finish()
}

func addressOf(name string, services listers.ServiceLister) net.IP {
	labels := strings.Split(strings.TrimSuffix(name, zone), ".")
	if !strings.HasSuffix(name, zone) || len(labels) != 2 {
		return nil
	}
	service, err := services.Services(labels[1]).Get(labels[0])
	if err != nil {
		return nil
	}
	return net.ParseIP(service.Spec.ClusterIP).To4()
}

// forward asks the first resolver of resolv.conf, as it is now.
func forward(packet []byte, resolvConf string) ([]byte, error) {
	text, err := os.ReadFile(resolvConf)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "nameserver" {
			upstream, err := net.DialTimeout("udp", net.JoinHostPort(words[1], "53"), patient)
			if err != nil {
				return nil, err
			}
			defer upstream.Close()
			_ = upstream.SetDeadline(time.Now().Add(patient))
			if _, err := upstream.Write(packet); err != nil {
				return nil, err
			}
			buffer := make([]byte, 4096)
			size, err := upstream.Read(buffer)
			return buffer[:size], err
		}
	}
	return nil, errors.New("no nameserver in " + resolvConf)
}
