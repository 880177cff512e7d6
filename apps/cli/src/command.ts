import type { Environment } from './config.ts'
import type { Connections } from './connections.ts'
import type { Terminal } from './terminal.ts'

/** What commands work with. */
export interface CommandContext {
  env: Environment
  connections: Connections
  terminal: Terminal
  /** Aborts when the user wants to stop. */
  stop: AbortSignal
}

/** Writes one JSON document. */
export async function writeJson({ terminal }: CommandContext, value: unknown): Promise<void> {
  await terminal.out(`${JSON.stringify(value, null, 2)}\n`)
}

/** Writes lines. */
export async function writeLines({ terminal }: CommandContext, lines: readonly string[]): Promise<void> {
  await terminal.out(lines.map((line) => `${line}\n`).join(''))
}
