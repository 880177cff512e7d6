import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The first executable file of this name in the folders of PATH. */
export function fileOnPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
