import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { basename } from 'node:path'
import { ExecutionTracer } from '@stepwell/client'
import { parseTraceId, type TraceContextData } from '@stepwell/protocol'
import type { CommandContext } from '../command.ts'
import { commandEnvironment } from '../config.ts'
import { EXIT_FAILED, UsageError } from '../errors.ts'
import { plain } from '../terminal.ts'

const NOT_FOUND = 127
const LINE_MAX_LENGTH = 16_384

/** Options of `run`. */
export interface RunOptions {
  name?: string
  execution?: string
}

/**
 * Runs a command as a trace: its exit code is the status, the last line of its stderr the error. Resolves with the exit code of
 * the command, whatever becomes of the trace: tracing never stands in its way. Inside of another traced command it is its child.
 */
export async function runCommand(
  context: CommandContext,
  [command, ...args]: readonly string[],
  options: RunOptions,
): Promise<number> {
  if (command === undefined) throw new UsageError('run needs a command: stepwell run -- make test')
  const { env, terminal } = context
  if (env.REDIS_URL === undefined) terminal.note('stepwell: REDIS_URL is not set: the command runs untraced')
  const tracer = new ExecutionTracer({
    redis: env.REDIS_URL,
    disabled: env.REDIS_URL === undefined,
    namespace: env.STEPWELL_NAMESPACE,
    shards: env.STEPWELL_SHARDS,
    report: ({ message }) => terminal.note(`stepwell: ${message}`),
  })
  const end = await tracer.trace(
    options.name ?? basename(command),
    {
      executionId: options.execution,
      metadata: { command: [command, ...args].join(' '), cwd: process.cwd() },
      parent: parentOf(env.STEPWELL_TRACE_CONTEXT),
    },
    async (trace) => {
      const ended = await execute(command, args, JSON.stringify(trace.context()))
      trace.set({ exit_code: ended.exitCode, ...(ended.signal === null ? {} : { signal: ended.signal }) })
      if (ended.exitCode !== 0) trace.fail(new Error(ended.error))
      return ended
    },
  )
  await tracer.close()
  return end.exitCode
}

interface End {
  exitCode: number
  signal: NodeJS.Signals | null
  error: string
}

function execute(command: string, args: readonly string[], traceContext: string): Promise<End> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['inherit', 'inherit', 'pipe'],
      env: commandEnvironment(traceContext),
    })
    let last = ''
    let line = ''
    child.stderr.on('data', (bytes: Buffer) => {
      process.stderr.write(bytes)
      const lines = (line + bytes.toString()).split('\n')
      line = (lines.pop() ?? '').slice(-LINE_MAX_LENGTH)
      for (const one of lines) if (one.trim() !== '') last = one
    })
    // Ctrl-C reaches the command by itself; it decides what to do, and its end is ours.
    const pass = (signal: NodeJS.Signals): void => {
      child.kill(signal)
    }
    const ignore = (): void => {}
    process.on('SIGTERM', pass).on('SIGHUP', pass).on('SIGINT', ignore)
    const done = (end: End): void => {
      process.off('SIGTERM', pass).off('SIGHUP', pass).off('SIGINT', ignore)
      resolve(end)
    }
    child.on('error', (error: NodeJS.ErrnoException) => {
      const message = error.code === 'ENOENT' ? `${command}: command not found` : error.message
      process.stderr.write(`stepwell: ${message}\n`)
      done({ exitCode: error.code === 'ENOENT' ? NOT_FOUND : EXIT_FAILED, signal: null, error: message })
    })
    child.on('close', (code, signal) => {
      const exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal])
      const words = plain(line.trim() === '' ? last : line).trim()
      done({
        exitCode,
        signal,
        error: words || (signal === null ? `exit code ${exitCode}` : `ended by ${signal}`),
      })
    })
  })
}

// From a variable that anybody may have set: what is no context is passed over.
function parentOf(text: string | undefined): TraceContextData | null {
  try {
    const context = JSON.parse(text ?? 'null') as TraceContextData | null
    return typeof context?.traceId === 'string' && parseTraceId(context.traceId) !== undefined
      ? context
      : null
  } catch {
    return null
  }
}
