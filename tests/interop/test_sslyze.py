"""sslyze finds nothing in the default configuration: no old version, no weak cipher, none of the mistakes it knows."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import Authority

PROGRAM = Path(sys.executable).with_name("sslyze")

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="sslyze is not installed (pip install sslyze)")

GOOD_12 = {f"TLS_ECDHE_{key}_WITH_{cipher}" for key in ("RSA", "ECDSA") for cipher in (
    "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")}
SCANS = ("certinfo", "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "compression", "heartbleed",
         "openssl_ccs", "fallback", "robot", "reneg", "early_data", "ems")
OLD = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]


@pytest.fixture(scope="module", params=["starttls", "implicit"])
def findings(request, serve_module, tmp_path_factory):
    implicit = request.param == "implicit"
    folder = tmp_path_factory.mktemp("sslyze")
    authority = Authority(folder)
    certificates = [authority.make("127.0.0.1", "mx.example.org", kind=kind) for kind in ("ec", "rsa")]
    server = serve_module("mx", settings={"domains": "a.test", "nextHop": "127.0.0.1:1"},
                          listen=["tls:127.0.0.1:0" if implicit else "127.0.0.1:0"],
                          options=[word for one in certificates for word in ("--tls-certificate", one.both)])
    # Its comparison with somebody's advice would fail for the certificate alone.
    done = subprocess.run(
        [str(PROGRAM), f"--json_out={folder}/found.json", "--mozilla_config=disable", *(f"--{scan}" for scan in SCANS),
         *(() if implicit else ("--starttls=smtp",)), f"127.0.0.1:{server.port}"], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    [result] = json.loads((folder / "found.json").read_text())["server_scan_results"]
    assert result["scan_status"] == "COMPLETED", result
    for name, attempt in result["scan_result"].items():
        assert attempt["status"] in ("COMPLETED", "NOT_SCHEDULED"), (name, attempt)
    return {name: attempt["result"] for name, attempt in result["scan_result"].items()}


def accepted(findings, version):
    return {suite["cipher_suite"]["name"] for suite in findings[f"{version}_cipher_suites"]["accepted_cipher_suites"]}


def test_no_version_below_12(findings):
    assert {version: accepted(findings, version) for version in OLD} == {version: set() for version in OLD}


def test_no_weak_cipher(findings):
    assert accepted(findings, "tls_1_2") == GOOD_12
    assert accepted(findings, "tls_1_3") == {
        "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}


def test_no_known_vulnerability(findings):
    assert findings["heartbleed"]["is_vulnerable_to_heartbleed"] is False
    assert findings["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"] is False
    assert findings["robot"]["robot_result"].startswith("NOT_VULNERABLE")
    assert findings["tls_compression"]["supports_compression"] is False
    assert findings["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"] is False
    assert findings["session_renegotiation"]["supports_secure_renegotiation"] is True
    assert findings["tls_fallback_scsv"]["supports_fallback_scsv"] is True
    assert findings["tls_1_3_early_data"]["supports_early_data"] is False
    assert findings["tls_extended_master_secret"]["supports_ems_extension"] is True


def test_both_kinds_of_certificate_are_shown(findings):
    chains = findings["certificate_info"]["certificate_deployments"]
    assert len({chain["received_certificate_chain"][0]["public_key"]["algorithm"] for chain in chains}) == 2
