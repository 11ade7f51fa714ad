// Libraries of the algorithm. While there are none, the platform compiles the sources without sbt.
// libraryDependencies += "org.example" %% "library" % "1.0"
