// Gets a URL with java.net.http, which reads no variables: a program passes its proxy on, or the
// properties of Java say it where there is none.

import java.net.Authenticator;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;

class Fetch {
    public static void main(String[] arguments) throws Exception {
        HttpClient.Builder builder = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(20));
        String at = System.getenv("HTTPS_PROXY");
        String known = null;
        if (at != null) {
            URI proxy = new URI(at);
            builder.proxy(ProxySelector.of(new InetSocketAddress(proxy.getHost(), proxy.getPort())));
            known = proxy.getUserInfo();
        }
        if (known != null) {
            int colon = known.indexOf(':');
            String user = known.substring(0, colon);
            char[] password = known.substring(colon + 1).toCharArray();
            builder.authenticator(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    return getRequestorType() == RequestorType.PROXY
                        ? new PasswordAuthentication(user, password)
                        : null;
                }
            });
        }
        HttpRequest request = HttpRequest.newBuilder(new URI(arguments[0])).build();
        try {
            HttpResponse<String> answer =
                builder.build().send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
            System.exit(answer.statusCode() == 200 ? 0 : 1);
        } catch (java.io.IOException error) {
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                System.out.println(cause);
            }
            System.exit(1);
        }
    }
}
