"""An identity provider for tests: OpenID Connect over HTTP with signed tokens and PKCE, and SAML responses signed on request.

`Provider()` listens on a free port of this machine. `person` is who signs in next; `forged` makes it sign with a foreign key,
`broken` answer with errors, `publishes` publish something else than its discovery document and SAML metadata.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import uuid
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import RSAAlgorithm

CLIENT_ID, CLIENT_SECRET = "trackside", "only-the-server-knows"


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Provider:
    """See the module."""

    person: dict[str, Any] = field(default_factory=dict)
    forged: bool = False
    broken: bool = False
    publishes: tuple[int, bytes] | None = None
    """Status and body; status 0 hangs up."""
    key: rsa.RSAPrivateKey = field(default_factory=_key)
    foreign: rsa.RSAPrivateKey = field(default_factory=_key)
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    url: str = ""

    def __enter__(self) -> Provider:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # OpenID Connect ------------------------------------------------------------------------------------------------
    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes once the person has signed in here."""
        assert query["client_id"] == CLIENT_ID
        assert query["response_type"] == "code"
        code = uuid.uuid4().hex
        self.codes[code] = {**query, "person": dict(self.person)}
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The tokens for a code, once, to who knows the secret and the verifier of the challenge."""
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if asked is None or form.get("client_secret") != CLIENT_SECRET or challenge != asked.get("code_challenge"):
            return 400, {"error": "invalid_grant"}
        now = datetime.now(tz=UTC)
        claims = {**asked["person"], "iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + timedelta(minutes=5)}
        signed = jwt.encode(claims, self.foreign if self.forged else self.key, algorithm="RS256", headers={"kid": "k1"})
        access = base64.urlsafe_b64encode(json.dumps(asked["person"]).encode()).decode()
        return 200, {"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": signed}

    def discovery(self) -> dict[str, Any]:
        """What `/.well-known/openid-configuration` says."""
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo", "jwks_uri": "keys"}
        return {"issuer": self.url, "token_endpoint_auth_methods_supported": ["client_secret_post"]} | {
            name: f"{self.url}/{path}" for name, path in ends.items()
        }

    def keys(self) -> dict[str, Any]:
        """Public keys."""
        return {"keys": [{**RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": "k1", "alg": "RS256", "use": "sig"}]}

    # SAML ----------------------------------------------------------------------------------------------------------
    def saml_metadata(self) -> str:
        """What an identity provider publishes of itself."""
        certificate = "".join(self.certificate().split("\n")[1:-2]) if "BEGIN" in self.certificate() else self.certificate()
        return (
            '<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://idp.example/saml"><IDPSSODescriptor '
            'protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><KeyDescriptor use="signing"><KeyInfo '
            f'xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo>'
            '</KeyDescriptor><SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" '
            'Location="https://idp.example/sso"/></IDPSSODescriptor></EntityDescriptor>'
        )

    def certificate(self) -> str:
        """The certificate that SAML responses are signed with, PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example")])
        now = datetime.now(tz=UTC)
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key()).serial_number(1)
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(self.key, hashes.SHA256())
        )  # fmt: skip
        return made.public_bytes(serialization.Encoding.PEM).decode()

    def saml_response(self, redirect: str, acs: str, audience: str, attributes: dict[str, list[str]], *, name_id: str) -> str:
        """The answer to the request in `redirect`, with a signed assertion, as the form field SAMLResponse."""
        from onelogin.saml2.utils import OneLogin_Saml2_Utils as Utils

        request = zlib.decompress(base64.b64decode(parse_qs(urlsplit(redirect).query)["SAMLRequest"][0]), -15).decode()
        asked = request.partition(' ID="')[2].partition('"')[0]
        now = datetime.now(tz=UTC)
        at, until = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (now, now + timedelta(minutes=5)))
        values = "".join(
            f'<saml:Attribute Name="{name}">'
            + "".join(f"<saml:AttributeValue>{v}</saml:AttributeValue>" for v in found)
            + "</saml:Attribute>"
            for name, found in attributes.items()
        )
        assertion = (
            '<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" '
            f'ID="a{uuid.uuid4().hex}" Version="2.0" IssueInstant="{at}">'
            "<saml:Issuer>https://idp.example/saml</saml:Issuer><saml:Subject>"
            f'<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">{name_id}</saml:NameID>'
            '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
            f'<saml:SubjectConfirmationData NotOnOrAfter="{until}" Recipient="{acs}" InResponseTo="{asked}"/></saml:SubjectConfirmation>'
            f'</saml:Subject><saml:Conditions NotBefore="{at}" NotOnOrAfter="{until}"><saml:AudienceRestriction>'
            f"<saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
            f'<saml:AuthnStatement AuthnInstant="{at}" SessionIndex="s1"><saml:AuthnContext><saml:AuthnContextClassRef>'
            "urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>"
            f"<saml:AttributeStatement>{values}</saml:AttributeStatement></saml:Assertion>"
        )
        key = self.foreign if self.forged else self.key
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        signed = Utils.add_sign(assertion, pem, self.certificate(), sign_algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256")
        text = signed.decode() if isinstance(signed, bytes) else signed
        response = (
            f'<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" '
            f'ID="r{uuid.uuid4().hex}" Version="2.0" IssueInstant="{at}" Destination="{acs}" InResponseTo="{asked}">'
            "<saml:Issuer>https://idp.example/saml</saml:Issuer><samlp:Status>"
            '<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'
            f"{text}</samlp:Response>"
        )
        return base64.b64encode(response.encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.provider.authorize(query))
            self.end_headers()
        elif parts.path == "/userinfo":
            token = self.headers["Authorization"].removeprefix("Bearer ")
            self._json(200, json.loads(base64.urlsafe_b64decode(token)))
        elif parts.path == "/keys":
            self._json(200, self.provider.keys())
        elif self.provider.publishes is not None:
            self._raw(*self.provider.publishes)
        elif parts.path == "/saml-metadata":
            self._raw(200, self.provider.saml_metadata().encode())
        else:
            self._json(500 if self.provider.broken else 200, self.provider.discovery())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._json(*self.provider.token({name: values[0] for name, values in parse_qs(body).items()}))

    def _raw(self, status: int, body: bytes) -> None:
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def _json(self, status: int, value: Any) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_: Any) -> None:
        pass
