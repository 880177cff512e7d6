import { readFileSync } from 'node:fs'
import { CommanderError } from 'commander'
import { readEnvironment } from './config.ts'
import { openConnections } from './connections.ts'
import { EXIT_DONE, EXIT_USAGE, explainError } from './errors.ts'
import { makeProgram } from './program.ts'
import { processTerminal } from './terminal.ts'

// The composition root of `stepwell`: environment → terminal and connections → the command → exit code.

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

// Whoever reads us has enough (`stepwell traces | head`): that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? EXIT_DONE : 1)
})

const program = makeProgram(async (action) => {
  const env = readEnvironment()
  const stopping = new AbortController()
  // The second one ends it at once.
  const stop = (): void => {
    if (stopping.signal.aborted) process.exit(130)
    stopping.abort()
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)
  await using connections = openConnections(env)
  const terminal = processTerminal(env.COLUMNS)
  const exitCode = await action({ env, connections, terminal, stop: stopping.signal })
  process.exitCode = typeof exitCode === 'number' ? exitCode : EXIT_DONE
}, version)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version are what was asked for; the rest has been said on stderr.
    process.exitCode = error.exitCode === 0 ? EXIT_DONE : EXIT_USAGE
  } else {
    const { message, exitCode } = explainError(error)
    process.stderr.write(`stepwell: ${message}\n`)
    process.exitCode = exitCode
  }
}
