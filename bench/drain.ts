const VARIABLE = '<*>'

interface Cluster {
  name: string
  template: string[]
}

interface Node {
  children: Map<string, Node>
  clusters: Cluster[]
}

/** What Drain is told: with the defaults of its authors' implementation. */
export interface DrainOptions {
  /** Layers of the tree, root and leaves included: the first words that messages of one cluster share, and 3. */
  depth?: number
  /** Share of words that a message and a template must have in common. */
  similarity?: number
  /** Most children of a node. */
  childrenMax?: number
}

/**
 * The cluster of each message, by Drain (He et al., "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017), the online template
 * miner to compare with. A tree of the number of words and the first words leads to a few templates; the most similar takes the message and
 * becomes `<*>` where they differ. Masked before, as is usual: numbers, hexadecimal numbers, IPv4 addresses with their ports.
 */
export function drain(
  messages: readonly string[],
  { depth = 4, similarity = 0.4, childrenMax = 100 }: DrainOptions = {},
): string[] {
  const roots = new Map<number, Node>()
  let count = 0
  return messages.map((message) => {
    const words = masked(message).trim().split(/\s+/)
    const root = roots.get(words.length) ?? { children: new Map(), clusters: [] }
    roots.set(words.length, root)
    const first = words.slice(0, depth - 3)
    const leaf = findLeaf(root, first)
    const found = mostSimilar(leaf?.clusters ?? [], words, similarity)
    if (found !== undefined) {
      found.template = found.template.map((word, i) => (word === words[i] ? word : VARIABLE))
      return found.name
    }
    count += 1
    const made = { name: String(count), template: words }
    growLeaf(root, first, childrenMax).clusters.push(made)
    return made.name
  })
}

function masked(message: string): string {
  return message
    .replace(/(\d+\.){3}\d+(:\d+)?/g, VARIABLE)
    .replace(/\b0x[0-9a-f]+\b/gi, VARIABLE)
    .replace(/(?<![\w.])[-+]?\d+(?![\w.])/g, VARIABLE)
}

function findLeaf(root: Node, first: readonly string[]): Node | undefined {
  let node: Node | undefined = root
  for (const word of first) node = node?.children.get(word) ?? node?.children.get(VARIABLE)
  return node
}

function growLeaf(root: Node, first: readonly string[], childrenMax: number): Node {
  let node = root
  for (const word of first) {
    const { children } = node
    // The last place is kept for what varies.
    const isFull = children.size >= childrenMax - (children.has(VARIABLE) ? 0 : 1)
    const key = children.has(word) || !(/\d/.test(word) || isFull) ? word : VARIABLE
    const child: Node = children.get(key) ?? { children: new Map(), clusters: [] }
    children.set(key, child)
    node = child
  }
  return node
}

function mostSimilar(
  clusters: readonly Cluster[],
  words: readonly string[],
  least: number,
): Cluster | undefined {
  let best: Cluster | undefined
  let [bestShare, bestVarying] = [least, -1]
  for (const cluster of clusters) {
    const share =
      cluster.template.filter((word, i) => word !== VARIABLE && word === words[i]).length / words.length
    const varying = cluster.template.filter((word) => word === VARIABLE).length
    if (share < bestShare || (share === bestShare && varying <= bestVarying)) continue
    best = cluster
    bestShare = share
    bestVarying = varying
  }
  return best
}
