// An independent judge of Connect signatures: atlassian-jwt, driven by JSON lines on standard input.
//
//   {"method": "GET", "url": "https://app.example/base/panel?q=1", "base": "https://app.example/base"}
//     → {"canonical": "GET&/panel&q=1", "qsh": "…"}
//   the same with "secret" and, if wished, "claims"
//     → the same and "token": an HS256 token with those claims, iat, exp in three minutes, and the qsh
//   {"token": "…", "secret": "…"} and, if wished, method, url, base
//     → {"ok": true, "claims": {…}, "qsh_ok": true} ("qsh_ok" only with a url), or {"ok": false, "error": "…"}
//
// One answer line per input line, in order, at once; a line that cannot be read answers {"error": "…"}.
import { createInterface } from 'node:readline';
import jwt from 'atlassian-jwt';

const { SymmetricAlgorithm: { HS256 } } = jwt;

function describe({ method = 'GET', url, base }) {
  const request = jwt.fromMethodAndUrl(method, url);
  return {
    canonical: jwt.createCanonicalRequest(request, false, base),
    qsh: jwt.createQueryStringHash(request, false, base),
  };
}

function sign(line) {
  const described = describe(line);
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iat, exp: iat + 180, qsh: described.qsh, ...line.claims };
  return { ...described, token: jwt.encodeSymmetric(claims, line.secret, HS256) };
}

function verify({ token, secret, ...request }) {
  let claims;
  try {
    claims = jwt.decodeSymmetric(token, secret, HS256);
  } catch (error) {
    return { ok: false, error: error.message };
  }
  const answer = { ok: true, claims };
  if (request.url) answer.qsh_ok = describe(request).qsh === claims.qsh;
  return answer;
}

function answer(text) {
  try {
    const line = JSON.parse(text);
    if (line.token !== undefined) return verify(line);
    if (line.secret !== undefined) return sign(line);
    return describe(line);
  } catch (error) {
    return { error: error.message };
  }
}

for await (const text of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (text.trim()) process.stdout.write(`${JSON.stringify(answer(text))}\n`);
}
