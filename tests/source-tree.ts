// What the house rules look at: the files that git tracks, read as text. TypeScript 7 has no API to parse with; patterns do
// for code that Biome has formatted.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** One import or re-export of a file. */
export interface Import {
  /** As it is written: `./delta.ts`, `@stepwell/protocol`, `node:fs`. */
  specifier: string
  /** The file it leads to, where it is one of ours. */
  target: string | undefined
  /** Whether only types come over: such an import is gone at run time. */
  typeOnly: boolean
}

/** A workspace package or app. */
export interface Package {
  /** Its folder: `packages/client`. */
  folder: string
  name: string
  /** Its entries: subpath (`.`, `./testing`) → file. */
  entries: Record<string, string>
  /** Files that it runs: its bins. */
  bins: string[]
  /** Names of what it may import at run time, and with the development ones in its tests. */
  dependencies: string[]
  devDependencies: string[]
}

/** Paths of all tracked files that exist, from the root of the repository. */
export const files: readonly string[] = listFiles()

/** The TypeScript and JavaScript among them. */
export const sources: readonly string[] = files.filter((file) => /\.(ts|mjs)$/.test(file))

/** The workspace's packages and apps. */
export const packages: readonly Package[] = files
  .filter((file) => /^(packages|apps)\/[^/]+\/package\.json$/.test(file))
  .map(readPackage)

/** The text of a tracked file. */
export function textOf(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

/** Whether a file is a test or serves only tests. */
export function isTest(file: string): boolean {
  return /\.test\.ts$|^tests\/|^(packages|apps)\/[^/]+\/test\//.test(file)
}

/** The package that a file belongs to; undefined at the root. */
export function packageOf(file: string): Package | undefined {
  return packages.find(({ folder }) => file.startsWith(`${folder}/`))
}

/** The imports and re-exports of a file, dynamic ones too. */
export function importsOf(file: string): Import[] {
  const text = textOf(file)
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?([^'"`;=]*?\sfrom\s+)?'([^']+)'/gm)
  const found = [...statements].map(([, type, names = '', specifier = '']) => ({
    specifier,
    typeOnly: type !== undefined || onlyTypes(names),
  }))
  const dynamic = [...text.matchAll(/\bimport\('([^']+)'\)/g)].map(([, specifier = '']) => ({
    specifier,
    typeOnly: false,
  }))
  return [...found, ...dynamic].map((one) => ({ ...one, target: targetOf(file, one.specifier) }))
}

/** Files that a file names by URL beside itself: programs that it runs, fixtures. */
export function namedFiles(file: string): string[] {
  const named = textOf(file).matchAll(/new URL\('(\.[^']+)',\s*import\.meta\.url\)/g)
  return [...named].map(([, path = '']) => normalize(join(dirname(file), path)))
}

/** All files of ours that are reached from these, themselves too. */
export function reachedFrom(entries: readonly string[]): Set<string> {
  const reached = new Set<string>()
  const open = [...entries]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (reached.has(file) || !sources.includes(file)) continue
    reached.add(file)
    open.push(...importsOf(file).flatMap(({ target }) => target ?? []), ...namedFiles(file))
  }
  return reached
}

// `import { type A, type B }`: every name says so.
function onlyTypes(names: string): boolean {
  const inBraces = /^\{([^}]*)\}/.exec(names.trim())?.[1]
  if (inBraces === undefined) return false
  const each = inBraces.split(',').filter((name) => name.trim() !== '')
  return each.length > 0 && each.every((name) => /^\s*type\s/.test(name))
}

function targetOf(file: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return normalize(join(dirname(file), specifier))
  const owner = packages.find(({ name }) => specifier === name || specifier.startsWith(`${name}/`))
  return owner?.entries[`.${specifier.slice(owner.name.length)}`]
}

function readPackage(file: string): Package {
  const folder = dirname(file)
  const manifest = JSON.parse(textOf(file))
  const inFolder = (path: string): string => join(folder, path)
  const names = (...fields: string[]): string[] =>
    fields.flatMap((field) => Object.keys(manifest[field] ?? {}))
  return {
    folder,
    name: manifest.name,
    entries: Object.fromEntries(
      Object.entries<string>(manifest.exports ?? {}).map(([subpath, path]) => [subpath, inFolder(path)]),
    ),
    bins: Object.values<string>(manifest.bin ?? {}).map(inFolder),
    dependencies: names('dependencies', 'peerDependencies', 'optionalDependencies'),
    devDependencies: names('devDependencies'),
  }
}

function listFiles(): string[] {
  // A checkout that belongs to another user (a mounted folder in CI) is safe enough to list.
  const list = execFileSync('git', ['-c', 'safe.directory=*', 'ls-files', '-z'], {
    cwd: root,
    encoding: 'utf8',
  })
  return list.split('\0').filter((file) => file !== '' && existsSync(join(root, file)))
}
