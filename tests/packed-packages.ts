import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))

/** Where the published packages lie, and what publishes them under which name. */
export const PUBLISHED: Readonly<Record<string, string>> = {
  '@stepwell/protocol': 'packages/protocol',
  '@stepwell/client': 'packages/client',
  '@stepwell/storage': 'packages/storage',
  '@stepwell/query': 'packages/query',
  '@stepwell/worker': 'apps/worker',
  '@stepwell/cli': 'apps/cli',
}

/** The packages as they would be published, in a folder of their own. `await using` removes it. */
export interface PackedPackages extends AsyncDisposable {
  folder: string
  /** Tarballs by package name. */
  tarballs: ReadonlyMap<string, string>
}

/** Builds and packs all published packages. */
export async function packPackages(): Promise<PackedPackages> {
  await run('turbo', ['run', 'build', '--output-logs=errors-only'], { cwd: root })
  const folder = await mkdtemp(join(tmpdir(), 'stepwell-packed-'))
  await Promise.all(
    Object.values(PUBLISHED).map((path) =>
      run('pnpm', ['pack', '--pack-destination', folder], { cwd: join(root, path) }),
    ),
  )
  const files = await readdir(folder)
  const tarballs = new Map<string, string>()
  for (const name of Object.keys(PUBLISHED)) {
    const start = `${name.slice(1).replace('/', '-')}-`
    const file = files.find((one) => one.startsWith(start) && one.endsWith('.tgz'))
    if (file === undefined) throw new Error(`${name} was not packed`)
    tarballs.set(name, join(folder, file))
  }
  return { folder, tarballs, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}
