import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

/** A program of its own that does work when told to, as often as it is told: warm, and with CPU time of its own. */
export interface Contender<Task, Answer> extends AsyncDisposable {
  pid: number
  /** Does one piece of work. Rejects with what went wrong there. */
  run(task: Task): Promise<Answer>
  stop(): Promise<void>
}

type Reply<Answer> = { answer: Answer } | { error: string }

/** Starts a file that calls `serve`. */
export async function startContender<Task, Answer>(
  file: URL,
  args: readonly string[] = [],
  execArgv: readonly string[] = [],
): Promise<Contender<Task, Answer>> {
  const child = fork(file, args, { execArgv: [...execArgv], serialization: 'advanced' })
  await answerOf(child)
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.disconnect()
    await exited
  }
  return {
    pid: child.pid as number,
    async run(task) {
      child.send(task as object)
      return (await answerOf(child)) as Answer
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** The other side: answers every task in turn, and ends when the parent goes. */
export function serve<Task, Answer>(work: (task: Task) => Promise<Answer>): void {
  process.on('message', async (task: Task) => {
    const reply: Reply<Answer> = await work(task).then(
      (answer) => ({ answer }),
      (error: unknown) => ({ error: error instanceof Error ? String(error.stack) : String(error) }),
    )
    process.send?.(reply)
  })
  process.on('disconnect', () => process.exit())
  process.send?.({ answer: 'ready' })
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const done = new AbortController()
  const { signal } = done
  try {
    const [reply] = (await Promise.race([
      once(child, 'message', { signal }),
      once(child, 'exit', { signal }).then(([code]) => [{ error: `it ended with code ${code}` }]),
    ])) as [Reply<unknown>]
    if ('error' in reply) throw new Error(`${child.spawnargs.slice(1).join(' ')}: ${reply.error}`)
    return reply.answer
  } finally {
    done.abort()
  }
}
