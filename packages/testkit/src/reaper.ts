import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'

// It learns of our end by the end of its standard input, whatever way we ended: no handler of ours runs after SIGKILL, and
// Vitest ends its workers like that. A line says which process to end and with what signal, an empty one that there is none.
const SCRIPT = `
while read -r next with; do pid=$next signal=$with; done
if [ -n "$pid" ]; then
  kill -CONT "$pid"
  kill -s "$signal" "$pid"
  tries=0
  while kill -0 "$pid" && [ $tries -lt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
  kill -KILL "$pid"
fi 2>/dev/null
[ -z "$1" ] || rm -rf "$1"
`

/** A process that outlives this one just long enough to clean up after it. */
export interface Reaper {
  /** From now on this is the process to end, and the signal that it gets; after 5 s it is killed. */
  guard(pid: number, signal: NodeJS.Signals): void
  /** There is nothing to end any more. */
  release(): void
  /** Ends the reaper; it does nothing then. Idempotent. */
  dismiss(): void
}

/** Starts a reaper. At the end of this process it ends what it guards, and removes the folder if one is given. */
export function startReaper(folder = ''): Reaper {
  // Detached: what ends us, like Ctrl-C on a terminal, often ends our whole group.
  const shell = spawn('sh', ['-c', SCRIPT, 'reaper', folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const input = shell.stdin as Socket
  // If somebody killed it there is still the sweep at the next start.
  for (const part of [shell, input]) part.on('error', () => {})
  for (const part of [shell, input]) part.unref()
  return {
    // Not every shell knows a signal by its full name.
    guard: (pid, signal) => input.write(`${pid} ${signal.slice('SIG'.length)}\n`),
    release: () => input.write('\n'),
    dismiss: () => shell.kill('SIGKILL'),
  }
}
