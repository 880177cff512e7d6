import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Path of a Node 22, the oldest that the tests can run under; undefined where npm has none for this system. */
export function node22(): string | undefined {
  const path = fileURLToPath(
    new URL(`../node_modules/node-22-${process.platform}-${process.arch}/bin/node`, import.meta.url),
  )
  return existsSync(path) ? path : undefined
}
