import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import { type Month, monthBounds } from '@stepwell/protocol'
import type { WholeTrace } from '@stepwell/query'
import { exportedForm } from './exported-form.ts'

/**
 * Writes traces that are about to be removed to a folder, a file of NDJSON a month and removal, as `import` takes it. A file is
 * being written (`.partial`) → finished: whole, on disk, under its name; or abandoned, and gone.
 */
export class RemovalExport {
  readonly #folder: string
  readonly #finished = new Map<string, string>()
  #current: { month: string; path: string; file: FileHandle } | undefined
  /** Traces of the file that is being written. */
  traces = 0

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Makes the folder if it is missing. Throws what the file system throws. */
  static async into(folder: string, relativeTo = ''): Promise<RemovalExport> {
    const path = isAbsolute(folder) ? folder : join(relativeTo, folder)
    await mkdir(path, { recursive: true })
    return new RemovalExport(path)
  }

  async write(month: Month, traces: readonly WholeTrace[]): Promise<void> {
    const name = new Date(monthBounds(month).fromMs).toISOString().slice(0, 7)
    if (this.#current === undefined) {
      // A month can be rewritten again when more of it goes.
      const path = join(this.#folder, `${name}.${new Date().toISOString().replace(/[-:.]/g, '')}.ndjson`)
      this.#current = { month: name, path, file: await open(`${path}.partial`, 'wx') }
      this.traces = 0
    }
    await this.#current.file.writeFile(
      traces.map((trace) => `${JSON.stringify(exportedForm(trace))}\n`).join(''),
    )
    this.traces += traces.length
  }

  /** Resolves when what was written is on disk, under its name. Idempotent. */
  async finish(): Promise<void> {
    if (this.#current === undefined) return
    const { month, path, file } = this.#current
    await file.sync()
    await file.close()
    await rename(`${path}.partial`, path)
    await syncFolder(dirname(path))
    this.#finished.set(month, path)
    this.#current = undefined
  }

  /** Where a month that was removed is. */
  fileOf(month: Month): string | undefined {
    return this.#finished.get(new Date(monthBounds(month).fromMs).toISOString().slice(0, 7))
  }

  /** Removes what is not finished: nothing of it was removed. Idempotent. */
  async abandon(): Promise<void> {
    if (this.#current === undefined) return
    const { path, file } = this.#current
    this.#current = undefined
    await file.close()
    await rm(`${path}.partial`, { force: true })
  }
}

/** A name is on disk when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
