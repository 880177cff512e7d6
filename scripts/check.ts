// `npm test`: lint, types, build and all tests, each with a line and its time; ends at the first that fails, with its output.
// `npm test -- <arguments>` hands the arguments to Vitest and runs nothing else: `npm test -- fault-proxy`.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'

interface Step {
  name: string
  command: string
  args: string[]
  /** Whether its output is shown while it runs; else only when it fails. */
  loud?: boolean
}

const filter = process.argv.slice(2)
const tests: Step = { name: 'tests', command: 'vitest', args: ['run', ...filter], loud: true }
const steps: Step[] = [
  { name: 'lint', command: 'biome', args: ['check', '--error-on-warnings', '.'] },
  { name: 'types', command: 'tsc', args: ['-p', '.'] },
  { name: 'build', command: 'turbo', args: ['run', 'build', '--output-logs=errors-only'] },
  tests,
]

let child: ChildProcess | undefined
// The step ends in its own way, with its servers stopped; its exit code then ends the check. Ctrl-C reaches it by itself.
process.on('SIGTERM', () => child?.kill('SIGTERM'))
process.on('SIGINT', () => {})

for (const step of filter.length > 0 ? [tests] : steps) {
  const start = performance.now()
  const { code, output } = await run(step)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`${code === 0 ? '✓' : '✗'} ${step.name.padEnd(6)}${seconds.padStart(7)} s`)
  if (code === 0) continue
  process.stderr.write(output)
  process.exit(code)
}

async function run({ command, args, loud }: Step): Promise<{ code: number; output: string }> {
  child = spawn(command, args, { stdio: ['inherit', loud ? 'inherit' : 'pipe', loud ? 'inherit' : 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  }
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code: code ?? 128 + (signal === null ? 0 : constants.signals[signal]), output }
}
