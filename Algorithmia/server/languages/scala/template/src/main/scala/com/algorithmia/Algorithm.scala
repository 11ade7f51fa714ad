package com.algorithmia

/** __ALGO__: each call runs the apply that suits its input. */
class Algorithm {
  def apply(input: String): String = s"hello $input"
}
