// Usage: node scripts/run.mjs <task | file.ts> [args…]
//
// Every root script goes through this launcher, so that `npm test` and `npm run demo` work in a bare clone. It is plain
// JavaScript for any Node >= 18: it installs the workspace with the pinned pnpm when the lockfile asks for it, then runs
// the task under the workspace's own Node, whose folder comes first on PATH.
//
// States: installing → running → exited. One child at a time; a signal goes to that child, and its end decides ours.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const OLDEST_NODE = [22, 22]
const PARENT_POLL_MS = 250

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = join(root, 'node_modules', '.bin')
const env = {
  ...process.env,
  PATH: bin + delimiter + process.env.PATH,
  DO_NOT_TRACK: '1',
  TURBO_TELEMETRY_DISABLED: '1',
}

/** The child that signals go to. */
let child
/** The signal that asked us to stop; between two children nobody else would remember it. */
let stopped

function signal(name) {
  stopped = name
  child?.kill(name)
}

function watchSignals() {
  for (const name of ['SIGTERM', 'SIGHUP']) process.on(name, () => signal(name))
  // On a terminal Ctrl-C reaches the whole group: passed on, it would count as the second, impatient one.
  const terminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
  process.on('SIGINT', () => (terminal ? undefined : signal('SIGINT')))
  // npm passes SIGTERM to its shell only, and the shell tells nobody: when that parent goes, so do we.
  const parent = process.ppid
  if (env.npm_lifecycle_event === undefined) return
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    signal('SIGTERM')
  }, PARENT_POLL_MS)
  watch.unref()
}

/** Runs one command to its end; gives its exit code, or 128 + n where signal n ended it. */
function run(command, args) {
  return new Promise((resolve) => {
    child = spawn(command, args, { cwd: root, env, stdio: 'inherit' })
    child.once('error', (error) => {
      console.error(error.code === 'ENOENT' ? `There is no task '${command}'` : error.message)
      resolve(127)
    })
    child.once('exit', (code, name) => resolve(code ?? 128 + constants.signals[name]))
  })
}

/** pnpm leaves a copy of the lockfile that it installed. Comparing takes a millisecond, asking pnpm half a second. */
function isInstalled() {
  const installed = join(root, 'node_modules', '.pnpm', 'lock.yaml')
  return existsSync(installed) && readFileSync(installed).equals(readFileSync(join(root, 'pnpm-lock.yaml')))
}

/** Gives pnpm's exit code. */
async function install() {
  const args = ['install', '--frozen-lockfile', '--prefer-offline']
  if (existsSync(join(bin, 'pnpm'))) {
    const code = await run(join(bin, 'pnpm'), [...args, '--reporter=silent'])
    if (code === 0 || stopped !== undefined) return code
    // Again, aloud, and by a pnpm that does not lie in the folder that may be broken.
  }
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return run('npx', ['-y', packageManager, ...args])
}

function refuseOldNode() {
  const { stdout } = spawnSync('node', ['-p', 'process.versions.node'], { env, encoding: 'utf8' })
  const [major, minor] = stdout.trim().split('.').map(Number)
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return
  console.error(
    `Node ${stdout.trim()} is too old: Stepwell needs ${OLDEST_NODE.join('.')} or newer, best Node 24. ` +
      'On Linux (x64, arm64, glibc) the workspace brings its own; elsewhere install it from https://nodejs.org.',
  )
  process.exit(1)
}

const [task, ...args] = process.argv.slice(2)
if (task === undefined) {
  console.error('Usage: node scripts/run.mjs <task | file.ts> [args…]')
  process.exit(2)
}
watchSignals()
const installed = isInstalled() ? 0 : await install()
if (installed !== 0) process.exit(installed)
if (stopped !== undefined) process.exit(128 + constants.signals[stopped])
refuseOldNode()
process.exit(await (/\.m?[jt]s$/.test(task) ? run('node', [task, ...args]) : run(task, args)))
