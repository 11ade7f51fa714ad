name := "algorithm"
organization := "algorithmia"
version := "0.1"
scalaVersion := "2.13.14"

enablePlugins(JavaAppPackaging)
