package com.algorithmia

/** Run it with `scala`, as README.md says. */
object AlgorithmTest {
  def main(arguments: Array[String]): Unit = {
    val algorithm = new Algorithm
    assert(algorithm("world") == "hello world")
    println("passed")
  }
}
