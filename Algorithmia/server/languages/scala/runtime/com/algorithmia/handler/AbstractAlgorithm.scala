package com.algorithmia.handler

import scala.util.{Success, Try}

/** What an algorithm may extend; a class or object with `apply` methods need not. */
trait AbstractAlgorithm[I, O] {
  def apply(input: I): Try[O]

  /** Runs once, before the first call. */
  def load(): Try[Unit] = Success(())
}

/** For `import com.algorithmia.handler.AbstractAlgorithm._`, as earlier versions had it. */
object AbstractAlgorithm {
  type AbstractAlgorithm[I, O] = com.algorithmia.handler.AbstractAlgorithm[I, O]
}
